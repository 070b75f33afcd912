"""Why a line is no JSON that can be sent, in words, with its column.

msgspec refuses it and gives a byte at most; the standard library reads the line once more, to
explain.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from batches.recipe import unsendable


class Fault(NamedTuple):
    """What is wrong with a line, without its number, and what to do."""

    what: str
    fix: str = ""


class NotAllowed(Exception):
    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.fault = Fault(what, fix)


def explain(line: bytes, refused: str, is_last: bool = False) -> Fault:
    """The fault of a line of UTF-8; `refused` is said where the standard library finds none."""
    text = line.decode()
    try:
        fault = _look(text)
    except json.JSONDecodeError as error:
        return _at(text, error, is_last)
    return fault or Fault(f"not the JSON that the API takes: {refused}.")


def explain_typed(text: str) -> Fault | None:
    """The same for what a person types over several lines; None where nothing is wrong."""
    try:
        return _look(text)
    except json.JSONDecodeError as error:
        what = _not_json(text, error.pos)
        said = f"JSON does not allow {what}." if what else _expected(error.msg)
        if error.pos >= len(text.rstrip()):
            said = "it ends before it is whole."
        elif error.msg == "Extra data":
            said = "expected nothing more."
        return Fault(f"line {error.lineno:,}, column {error.colno:,}: {said}")


def _look(text: str) -> Fault | None:
    """What is wrong with JSON that the standard library can read; it raises where it cannot."""
    try:
        value = json.loads(
            text,
            object_pairs_hook=_without_doubles,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_whole,
        )
    except NotAllowed as error:
        return error.fault
    except RecursionError:
        return Fault("nested too deep to read.", "Flatten it.")
    what = next(find_unsendable(value), "")
    return Fault(what, "Delete that character.") if what else None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise NotAllowed(f"key `{double[:60]}` is given twice.", "Delete one of them.")
    return found


def _refuse_constant(name: str) -> None:
    raise NotAllowed(f"{name} is not valid JSON.", "Write a number or null.")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _out_of_range(text)
    return number


def _whole(text: str) -> int:
    if len(text) > 300:
        raise _out_of_range(text)
    return int(text)


def _out_of_range(text: str) -> NotAllowed:
    return NotAllowed(f"number out of range: {text[:20]}.", "Write it as text, or smaller.")


def _at(text: str, error: json.JSONDecodeError, is_last: bool) -> Fault:
    place = f"column {error.colno:,}: "
    end = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
    if end and is_last:
        return Fault(f"cut off at column {len(text):,}.", "The upload may be incomplete.")
    if end:
        fix = "Put each object on one line, whole."
        return Fault(f"column {error.colno:,}: the line ends before its object does.", fix)
    if what := _not_json(text, error.pos):
        return Fault(f"{place}JSON does not allow {what}.")
    return Fault(place + _expected(error.msg))


def _not_json(text: str, position: int) -> str:
    """What people write that JSON has not, at or just before the place of an error."""
    rest, before = text[position:], text[:position].rstrip()
    if re.match(r"//|/\*|#", rest):
        return "comments"
    if rest.startswith("'"):
        return 'single quotes: write "'
    if re.match(r"[}\]]", rest) and before.endswith(","):
        return f"a comma before {rest[0]}"
    if rest.startswith(",") and re.match(r",\s*[}\]]", rest):
        return "a comma at the end"
    if word := re.match(r"True|False|None|undefined", rest):
        return f"{word[0]}: write true, false or null"
    return ""


def _expected(message: str) -> str:
    known = {
        "Expecting ',' delimiter": "expected , or a closing bracket.",
        "Expecting ':' delimiter": "expected : after the key.",
        "Expecting value": "expected a value.",
        "Expecting property name enclosed in double quotes": 'expected a key in ".',
        "Extra data": "expected the end of the line after the object.",
    }
    return known.get(message, f"{message[:1].lower()}{message[1:]}.")


def find_unsendable(value: Any, path: str = "") -> Iterator[str]:
    """Every text in a JSON value that cannot be sent, as `path`: why."""
    if isinstance(value, str):
        if what := unsendable(value):
            yield f"`{path}`: {what}" if path else what
    elif isinstance(value, dict):
        for name, child in value.items():
            yield from find_unsendable(name, f"{path}.{name}".lstrip("."))
            yield from find_unsendable(child, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for place, child in enumerate(value):
            yield from find_unsendable(child, f"{path}[{place}]")
