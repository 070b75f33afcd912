"""JSON as a person types it into a field, and as it is shown there again. Pure."""

import json
import re
from typing import Any

import msgspec

from claude_api.tolerant import decode_clean

# What people write that JSON has not, by what stands at the place of the error.
HABITS = (
    (re.compile(r"//|/\*|#"), "JSON has no comments."),
    (re.compile(r"'"), "write \" instead of '."),
    (re.compile(r"True|False|None|undefined"), "write true, false or null."),
    (re.compile(r"[}\]]"), "a value is missing, or a comma stands before the bracket."),
)


class Unreadable(Exception):
    """What is wrong with a field of JSON, with its line and column."""


def read_json(text: str, kind: type, example: str) -> Any:
    """The value; `kind` is what it has to be, a list being one of objects. Raises Unreadable."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        place = f"Line {error.lineno:,}, column {error.colno:,}"
        raise Unreadable(f"{place}: {_explain(text, error)}") from None
    except RecursionError:
        raise Unreadable("It is nested too deep.") from None
    except ValueError:
        raise Unreadable("A number in it is too long.") from None
    if not isinstance(value, kind) or (
        isinstance(value, list) and not all(isinstance(one, dict) for one in value)
    ):
        wanted = "a list of objects" if kind is list else "an object"
        raise Unreadable(f"This is not {wanted}. Write it as in {example}.")
    return decode_clean(text.encode())


def write_json(value: Any) -> str:
    """Indented; empty where there is nothing."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() if value else ""


def _refuse(name: str) -> None:
    raise Unreadable(f"{name} is no JSON: write a number or null.")


def _explain(text: str, error: json.JSONDecodeError) -> str:
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
        return "it ends before it is whole."
    if error.msg == "Extra data":
        return "nothing more may follow here."
    for pattern, said in HABITS:
        if pattern.match(text, error.pos):
            return said
    return f"{error.msg[:1].lower()}{error.msg[1:]}."
