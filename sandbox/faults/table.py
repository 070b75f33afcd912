"""Every kind of fault, and how one is read; a refusal says what is known."""

import types
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from sandbox.errors import ApiError, invalid
from sandbox.faults.answers import Delay, Drop, Late, Redirect, Silence, Status
from sandbox.faults.base import Fault
from sandbox.faults.bodies import Body, GzipBomb, Split
from sandbox.faults.deliveries import Cut, Pause, Slow, Transfer, WrongLength
from sandbox.faults.events import ErrorEvent, OddEvent, Padding, Pings
from sandbox.faults.lines import (
    DoubledLines,
    ForeignLines,
    LongLines,
    MissingLines,
    OddLines,
    ShuffledLines,
    UnendedLines,
)
from sandbox.faults.merging import Change
from sandbox.faults.world import EarlyCounts, ForeignBatches, Lag

KINDS: dict[str, type[Fault]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (
        *(Status, Redirect, Drop, Silence, Delay, Late),
        *(Lag, EarlyCounts, ForeignBatches),
        *(Body, Change, GzipBomb, Split),
        *(MissingLines, DoubledLines, ForeignLines, ShuffledLines, UnendedLines, LongLines),
        *(OddLines, ErrorEvent, OddEvent, Pings, Padding),
        *(Cut, Pause, Slow, Transfer, WrongLength),
    )
}
SHORT = "ON:KIND,NAME=VALUE,..."


def parse(fields: dict[str, Any]) -> Fault:
    """A fault from JSON."""
    name = fields.get("kind")
    if not isinstance(name, str) or name not in KINDS:
        raise invalid(f"kind: {name!r} is not known; known are {', '.join(KINDS)}")
    kind = KINDS[name]
    _check_names(name, kind, fields)
    try:
        fault = msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise invalid(f"{name}: {error}") from error
    if fault.on != "*" and fault.on not in fault.operations:
        known = ", ".join(sorted(fault.operations))
        raise invalid(f"on: {name} happens to {known}, not to {fault.on}")
    return fault


def _check_names(name: str, kind: type[Fault], fields: dict[str, Any]) -> None:
    known = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for given, value in fields.items():
        if given == "kind":
            continue
        if given not in known:
            raise invalid(f"{given}: {name} does not know it; it knows {', '.join(known)}")
        choices = _choices(known[given])
        if choices and value not in choices:
            listed = ", ".join(str(choice) for choice in choices)
            raise invalid(f"{given}: {value!r} is not known; known are {listed}")


def _choices(kind: Any) -> tuple[Any, ...]:
    """The values of a Literal, also of one that may be absent; nothing for other types."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    if get_origin(kind) in (Union, types.UnionType):
        found = [_choices(part) for part in get_args(kind)]
        return (*sum(found, ()), None) if any(found) else ()
    return ()


def read_fault(text: str) -> Fault:
    """A fault from a shell: JSON, or `create:529,when=after_effect,times=2`."""
    if text.lstrip().startswith("{"):
        try:
            return parse(msgspec.json.decode(text, type=dict[str, Any]))
        except msgspec.MsgspecError as error:
            raise invalid(f"the fault is not JSON: {error}") from error
    return parse(_spelled_out(text))


def _spelled_out(text: str) -> dict[str, Any]:
    first, *others = text.split(",")
    on, colon, kind = first.partition(":")
    if not colon:
        raise invalid(f"a fault is written {SHORT} or as JSON")
    fields: dict[str, Any] = {"on": on.strip(), "kind": kind.strip()}
    if fields["kind"].isdecimal():
        fields |= {"kind": "status", "code": int(kind)}
    for other in others:
        name, equals, value = other.partition("=")
        if not equals:
            raise _unreadable(other)
        fields[name.strip()] = _value(value.strip())
    return fields


def _unreadable(part: str) -> ApiError:
    return invalid(f"{part!r} is not NAME=VALUE; a fault is written {SHORT} or as JSON")


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return text
