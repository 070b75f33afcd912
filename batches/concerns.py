"""Why a person should look at an answer: what went wrong, or what is odd about a success."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from claude_api import ResultLine, read_answer
from claude_api.tolerant import REFUSALS

# A model stops with `tool_use` only where the recipe gave it tools.
ORDINARY_STOPS = frozenset({"", "end_turn", "stop_sequence", "tool_use"})
FINISHED = frozenset({"end_turn", "stop_sequence"})
# What these say is all there is to say, and the index finds them by type.
SAID_BY_TYPE = frozenset({"canceled", "expired", "missing"})
UNFIT = "unfit"  # the answer does not fit the output format
UNNAMED = "unnamed"  # the API gave no type of error
LENGTH = 60
# Sent again as they are, these fail again.
WRONG_AS_THEY_ARE = frozenset({"invalid_request_error", "request_too_large", "not_found_error"})
KINDS: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
}


def find_concern(line: ResultLine, data: bytes, schema: Mapping[str, Any] | None) -> str | None:
    """The word that the answer is found by; None where nobody needs to look.

    An errored row's is the type of its error, a succeeded one's its stop reason or `unfit`, and
    that of a type which is newer than this program the type itself. `data` is the line as
    received.
    """
    if line.type in SAID_BY_TYPE:
        return None
    if line.type == "errored":
        return (line.error_type or UNNAMED)[:LENGTH]
    if line.type != "succeeded":
        return line.type[:LENGTH]
    if line.stop_reason not in ORDINARY_STOPS:
        return line.stop_reason[:LENGTH]
    if schema is None or line.stop_reason not in FINISHED or fits(read_answer(data).text, schema):
        return None
    return UNFIT


def needs_another_recipe(kind: str, concern: str | None) -> bool:
    """Whether a row like this gets nothing better by being sent once more as it is."""
    return kind == "succeeded" or concern in WRONG_AS_THEY_ARE


def output_schema(recipe: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The JSON schema that a recipe asks answers to fit."""
    given = recipe.get("output_format")
    if given is None:
        config = recipe.get("extra", {}).get("output_config", {})
        given = (config.get("format") or {}).get("schema") if isinstance(config, dict) else None
    return given if isinstance(given, dict) else None


def fits(text: str, schema: Mapping[str, Any]) -> bool:
    """Whether a text is JSON of the schema's kind with what it requires at the top.

    The API sees to the depths of it; what breaks is the whole: prose, a fence, half an object.
    """
    try:
        value = msgspec.json.decode(text.encode(errors="replace"))
    except REFUSALS:
        return False
    named = schema.get("type")
    kinds = [KINDS[name] for name in as_names(named) if name in KINDS]
    if kinds and not any(isinstance(value, kind) for kind in kinds):
        return False
    return not isinstance(value, dict) or value.keys() >= set(as_names(schema.get("required")))


def as_names(value: Any) -> Iterable[str]:
    """The names in `type` or `required`, which a person wrote: one, several, or nonsense."""
    if isinstance(value, str):
        return [value]
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
