import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.errors import ApiError
from sandbox.models import find_model
from sandbox.replies import answer
from sandbox.usage import cache, count_input
from sandbox.validation import find_problem
from tests.sandbox.api import NEWER, OLDER, body

LONG_FIELDS: dict[str, Any] = {
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
    "tools": [{"name": "t", "input_schema": {"type": "object", "properties": {}}}],
    "tool_choice": {"type": "auto"},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "output_config": {"format": {"type": "json_schema", "schema": {"type": "string"}}},
    "stop_sequences": ["stop"],
    "metadata": {"user_id": "u"},
}
TURNS = [
    {"role": "user", "content": "x"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "t", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "r"}]},
]
WHOLE = {**body(**LONG_FIELDS), "max_tokens": 2000, "messages": TURNS}
ODD = st.sampled_from([None, True, 7, -1, 0.5, "", "x", [], [1], ["x"], [[]], {}, {"type": "x"}])


def paths(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [prefix] if prefix else []
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    return found + [path for key, part in items for path in paths(part, (*prefix, key))]


def test_it_works() -> None:
    assert find_problem(WHOLE, NEWER) is None
    assert find_problem(WHOLE, OLDER, in_batch=True) is None


@settings(deadline=None)
@given(st.sampled_from(paths(WHOLE)), ODD, st.booleans())
def test_odd_values_are_refused_or_answered(path: tuple, odd: Any, in_batch: bool) -> None:
    """Whatever stands in any place, the outcome is an error of the API or an answer."""
    changed = copy.deepcopy(WHOLE)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = odd
    problem = find_problem(changed, NEWER, in_batch)
    if problem is None:
        model = find_model(changed["model"])
        assert model is not None
        assert answer(changed, model).stop_reason
        assert count_input(changed) > 0
        assert cache(changed, model, lambda key: False).read == 0
    else:
        assert isinstance(problem, ApiError)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stream": True}, '"stream=True" is not supported in the Message Batches API'),
        ({"max_tokens": 0}, "max_tokens: must be greater than or equal to 1"),
        ({"store": True}, "store: not supported in the Message Batches API"),
        ({"fallbacks": []}, "fallbacks: not supported in the Message Batches API"),
        ({"speed": "fast"}, "speed: fast mode is not supported in the Message Batches API"),
    ],
)
def test_what_a_batch_does_not_take(fields: dict[str, Any], message: str) -> None:
    problem = find_problem(body(**fields) | fields, NEWER, in_batch=True)
    assert problem is not None
    assert problem.message == message


@pytest.mark.parametrize(
    ("model", "fields", "beginning"),
    [
        (
            "claude-opus-4-8",
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000},
            '"thinking.type.enabled" is not supported for this model.',
        ),
        ("claude-opus-5-5", {"thinking": {"type": "disabled"}}, '"thinking.type.disabled"'),
        (
            "claude-opus-5-5",
            {"tools": LONG_FIELDS["tools"], "tool_choice": {"type": "any"}},
            "tool_choice: forced tool use is not supported on this model",
        ),
    ],
)
def test_what_a_model_does_not_take(model: str, fields: dict[str, Any], beginning: str) -> None:
    problem = find_problem({**body(), "model": model, **fields}, NEWER)
    assert problem is not None
    assert problem.message.startswith(beginning)


def test_a_tool_call_needs_its_result() -> None:
    turns = [*TURNS[:2], {"role": "user", "content": "x"}]
    problem = find_problem({**WHOLE, "messages": turns}, NEWER)
    assert problem is not None
    assert problem.message.startswith(
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: a."
    )


def test_four_cache_marks_are_the_most() -> None:
    marked = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
    assert find_problem(body(system=[marked] * 4), NEWER) is None
    problem = find_problem(body(system=[marked] * 5), NEWER)
    assert problem is not None
    assert problem.message.endswith("Found 5.")
