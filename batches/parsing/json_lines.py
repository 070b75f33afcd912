"""JSON lines to rows: ready requests, their params kept byte for byte.

A row's number is its line in the file; blank lines are no rows.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from batches.archive import Row
from batches.parsing.decoding import utf8_chunks
from batches.parsing.json_faults import Fault, explain
from batches.parsing.ready_request import request_faults
from batches.problems import FileRefused, Problem
from batches.recipe import REQUEST_LIMIT
from claude_api.lines import Line, split_lines

NESTING_LIMIT = 64
TOO_DEEP = Fault(f"nested deeper than {NESTING_LIMIT}.", "Flatten it.")
WORD = "Line"
_string = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_own_id = re.compile(rb'"custom_id"\s*:\s*"([A-Za-z0-9_.-]{1,64})"')


class RawRequest(msgspec.Struct):
    params: msgspec.Raw


_decoder = msgspec.json.Decoder()
_raw_decoder = msgspec.json.Decoder(RawRequest)


def read_rows(path: Path, encoding: str, api_version: str) -> Iterator[tuple[Row, list[Problem]]]:
    """Every line that is not blank, with its problems."""
    lines_by_id: dict[str, int] = {}
    lines = split_lines(utf8_chunks(path, encoding), REQUEST_LIMIT)
    for line, is_last in _with_last(lines):
        value, faults = read_line(line, is_last, api_version)
        own_id = _read_id(value, line)
        first = lines_by_id.setdefault(own_id, line.number) if own_id else line.number
        if first != line.number:
            faults.append(_double_id(own_id, first, line.number))
        problems = [Problem(fault.what, row=line.number, fix=fault.fix) for fault in faults]
        if problems:
            reason = " ".join(problem.sentence(WORD) for problem in problems)
            yield Row(line.number, reason, own_id), problems
        else:
            yield Row(line.number, "", own_id, params=_raw_decoder.decode(line.data).params), []


def _with_last(lines: Iterator[Line]) -> Iterator[tuple[Line, bool]]:
    """Each line and whether it is the last; raises FileRefused where there is none."""
    line = next(lines, None)
    if line is None:
        raise FileRefused(Problem("No requests: every line is blank."))
    for following in lines:
        yield line, False
        line = following
    yield line, True


def read_line(line: Line, is_last: bool, api_version: str) -> tuple[Any, list[Fault]]:
    """What stands in the line, and all that keeps it from being sent."""
    if line.too_long:
        what = f"{line.length / 1e6:,.1f} MB, the limit is {REQUEST_LIMIT // 10**6} MB."
        return None, [Fault(what, "Shorten the request.")]
    try:
        value = _decoder.decode(line.data)
    except RecursionError:
        return None, [TOO_DEEP]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return None, [explain(line.data, str(error), is_last)]
    pairs, depth = measure(value)
    if depth > NESTING_LIMIT:
        return value, [TOO_DEEP]
    if pairs != _string.sub(b"", line.data).count(b":"):
        # The decoder keeps the last of two equal keys without a word.
        return value, [explain(line.data, "a key is given twice", is_last)]
    return value, list(request_faults(value, api_version, b"\\u0000" in line.data))


def measure(value: Any) -> tuple[int, int]:
    """How many keys there are in all objects, and how deep they and the arrays are nested."""
    pairs = deepest = 0
    pending = [(value, 1)]
    while pending:
        node, depth = pending.pop()
        if isinstance(node, dict):
            pairs += len(node)
            children = list(node.values())
        elif isinstance(node, list):
            children = node
        else:
            continue
        deepest = max(deepest, depth)
        pending += [(child, depth + 1) for child in children if isinstance(child, dict | list)]
    return pairs, deepest


def _read_id(value: Any, line: Line) -> str:
    """The line's own id, as far as it can be read."""
    if isinstance(value, dict):
        own_id = value.get("custom_id")
        return own_id if isinstance(own_id, str) else ""
    found = _own_id.search(line.data)
    return found[1].decode() if found else ""


def _double_id(own_id: str, first: int, second: int) -> Fault:
    what = f"custom_id `{own_id[:64]}` is on lines {first:,} and {second:,}."
    return Fault(what, "Give one of them another custom_id.")
