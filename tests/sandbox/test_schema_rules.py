import time
from random import Random
from typing import Any

import pytest

from sandbox.schemas import Maker
from sandbox.validation import find_problem
from tests.sandbox.api import NEWER, body


def closed(**properties: Any) -> dict[str, Any]:
    required = list(properties)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def refused(schema: Any) -> str | None:
    """What `output_config.format` says to a schema, without the place."""
    form = {"format": {"type": "json_schema", "schema": schema}}
    problem = find_problem(body(output_config=form), NEWER)
    return problem.message.removeprefix("output_config.format.schema: ") if problem else None


def test_it_works() -> None:
    shared = {"$defs": {"name": {"type": "string"}}, "$ref": "#/$defs/name"}
    choice = {"enum": ["a", "b"], "type": "string"}
    assert refused(closed(name=shared, mood=choice, minimum={"type": "integer"})) is None


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (
            closed(age={"type": "integer", "minimum": 0, "maximum": 9}),
            "For 'integer' type, properties maximum, minimum are not supported",
        ),
        (
            closed(name={"type": "string", "maxLength": 9}),
            "For 'string' type, properties maxLength are not supported",
        ),
        (
            closed(tags={"type": "array", "minItems": 2}),
            "For 'array' type, properties minItems are not supported",
        ),
        (closed(next={"$ref": "#"}), "Recursive schemas are not supported: #"),
        (closed(a={"$ref": "https://x/y"}), "External $ref is not supported: https://x/y"),
        (
            closed(**{f"u{each}": {"type": ["string", "null"]} for each in range(17)}),
            "Schema is too complex for compilation.",
        ),
    ],
)
def test_structured_outputs_refuse_what_they_cannot_keep(schema: Any, message: str) -> None:
    assert refused(schema) == message


MALFORMED = [
    {"properties": []},
    {"properties": {"a": {"type": "text"}}},
    {"properties": {"a": {"enum": "abc"}}},
    {"properties": {"a": {"minItems": -1}}},
    {"properties": {"a": {"multipleOf": 0}}},
    {"properties": {"a": {"anyOf": []}}},
    {"properties": {"a": 7}},
    {"required": [1]},
]


@pytest.mark.parametrize("fields", MALFORMED, ids=str)
def test_a_tool_needs_a_schema(fields: dict[str, Any]) -> None:
    tool = {"name": "t", "input_schema": {"type": "object", **fields}}
    problem = find_problem(body(tools=[tool]), NEWER)
    assert problem is not None
    assert problem.message == (
        "tools.0.custom.input_schema: JSON schema is invalid. It must match JSON Schema draft "
        "2020-12"
    )


ENDLESS = [
    {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
    {"allOf": [{"$ref": "#"}] * 20},
    {"type": "array", "minItems": 10**20, "items": {"type": "array", "minItems": 10**20}},
    {"type": "string", "minLength": 10**20},
    {"type": "number", "minimum": 1e308, "multipleOf": 1e-5},
]


@pytest.mark.parametrize("schema", ENDLESS, ids=lambda schema: str(schema)[:40])
def test_a_hostile_schema_holds_nothing_up(schema: dict[str, Any]) -> None:
    started = time.process_time()
    Maker(schema, ["word"], Random(1)).value()
    assert time.process_time() - started < 1


def test_a_body_nested_without_end_is_refused() -> None:
    nested: dict[str, Any] = {"type": "object"}
    for _ in range(2_000):
        nested = {"type": "object", "properties": {"a": nested}}
    problem = find_problem(body(tools=[{"name": "t", "input_schema": nested}]), NEWER)
    assert problem is not None
    assert problem.message == "The request body is nested too deeply"


def test_opus_5_always_thinks_at_the_highest_efforts() -> None:
    fields: dict[str, Any] = {"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}
    assert find_problem({**body(**fields), "model": "claude-opus-5"}, NEWER) is None
    fields["output_config"] = {"effort": "max"}
    problem = find_problem({**body(**fields), "model": "claude-opus-5"}, NEWER)
    assert problem is not None
    assert problem.message == '"thinking.type.disabled" is not supported at effort max.'
