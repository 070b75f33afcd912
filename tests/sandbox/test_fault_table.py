"""How a fault is written, and that each is documented with an example that works."""

import re
from typing import Any

import msgspec
import pytest

from sandbox.errors import ApiError
from sandbox.faults.table import KINDS, parse, read_fault
from tests.processes import ROOT

ROW = re.compile(r"^\| `(\w+)` \| .+ \| `([^`]+)` \|$", re.MULTILINE)


def documented() -> list[tuple[str, str]]:
    return ROW.findall((ROOT / "docs" / "sandbox.md").read_text())


@pytest.mark.parametrize(
    ("short", "fields"),
    [
        ("create:529", {"on": "create", "kind": "status", "code": 529}),
        (
            "*:drop, when=after_effect, times=null, share=0.5",
            {"on": "*", "kind": "drop", "when": "after_effect", "times": None, "share": 0.5},
        ),
        (
            'list:change,fields={"a":[1]}',
            {"on": "list", "kind": "change", "fields": {"a": [1]}},
        ),
        (' {"kind": "redirect"}', {"kind": "redirect"}),
    ],
)
def test_it_works(short: str, fields: dict[str, Any]) -> None:
    assert read_fault(short) == parse(fields)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("create", "a fault is written ON:KIND,NAME=VALUE,... or as JSON"),
        ("create:drop,now", "'now' is not NAME=VALUE; a fault is written ON:KIND,NAME=VALUE,"),
        ("create:600", "status: Expected `int` <= 599 - at `$.code`"),
        ("create:", "kind: '' is not known; known are status, "),
        ("{", "the fault is not JSON: "),
        ("create:slow,rate=0", "slow: Expected `float` > 0.0 - at `$.rate`"),
        ("list:late,seconds=1", "on: late happens to cancel, create, delete, not to list"),
        ("results:cut,transfer=fast", "transfer: 'fast' is not known; known are length, "),
    ],
)
def test_bad_input_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ApiError) as refused:
        read_fault(text)
    assert refused.value.message.startswith(sentence)


def test_every_kind_is_documented() -> None:
    assert sorted(kind for kind, _ in documented()) == sorted(KINDS)


@pytest.mark.parametrize(("kind", "example"), documented())
def test_every_example_is_understood(kind: str, example: str) -> None:
    fault = read_fault(example)
    assert fault.kind == kind
    assert parse(msgspec.to_builtins(fault)) == fault
    assert fault.on == "*" or fault.happens_to(fault.on)
