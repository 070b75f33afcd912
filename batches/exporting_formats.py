"""How outcomes are written: a table for people and spreadsheets, JSON lines for programs."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from batches.exporting_rows import Outcome
from claude_api import Usage
from claude_api.tolerant import REFUSALS, clean

CHUNK_SIZE = 64 << 10
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
OUR_COLUMNS = (
    "custom_id",
    "result",
    "text",
    "stop_reason",
    "input_tokens",
    "output_tokens",
    "error",
)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
# 1,234.5 and 1.234,5 alike: what has only digits and separators is no formula anywhere.
_NUMBER = re.compile(r"[+-](?:[0-9][0-9.,]*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]', re.DOTALL)


def guard(cell: str) -> str:
    """The cell as a spreadsheet will not run it: an apostrophe before what may be a formula."""
    if cell.startswith(FORMULA_STARTS) and not _NUMBER.fullmatch(cell):
        return "'" + cell
    return cell


def name_columns(columns: Sequence[str]) -> list[str]:
    """Our columns under names that the upload's own do not have."""
    return [_free_name(name, columns) for name in OUR_COLUMNS]


def _free_name(name: str, taken: Sequence[str]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        candidate = f"claude_{name}" if number == 1 else f"claude_{number}_{name}"
        number += 1
    return candidate


def write_csv(
    columns: Sequence[str], outcomes: Iterable[Outcome], *, exact: bool = False, bom: bool = False
) -> Iterator[bytes]:
    """RFC 4180 in UTF-8, the upload's columns first; in chunks of about 64 KB.

    The first chunk is the header, given before any outcome is asked for.
    """
    text = io.StringIO(newline="")
    write = csv.writer(text, lineterminator="\r\n").writerow
    fit: Callable[[str], str] = str if exact else guard
    write(map(fit, [*columns, *name_columns(columns)]))
    yield (BYTE_ORDER_MARK if bom else b"") + _drain(text)
    for outcome in outcomes:
        cells = outcome.row.cells if columns else []
        write(map(fit, [*cells, *our_cells(outcome)]))
        if text.tell() >= CHUNK_SIZE:
            yield _drain(text)
    yield _drain(text)


def _drain(text: io.StringIO) -> bytes:
    chunk = clean(text.getvalue()).encode()
    text.seek(0)
    text.truncate()
    return chunk


def our_cells(outcome: Outcome) -> list[str]:
    """What stands in our columns, in their order."""
    answer = outcome.answer
    if answer is None:
        return [outcome.own_id, outcome.type, "", "", "", "", outcome.reason]
    error = ": ".join(filter(None, (answer.error_type, answer.error_message)))
    tokens = count_input(answer.usage), answer.usage.output_tokens
    return [
        outcome.own_id,
        outcome.type,
        answer.text,
        answer.stop_reason,
        *(map(str, tokens) if any(tokens) else ("", "")),
        error,
    ]


def count_input(usage: Usage) -> int:
    """All input, whether it was read from the cache, written to it, or neither."""
    return usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens


class OwnResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """Stands in the place of the API's result where there is none."""

    type: str
    reason: str = ""
    raw: str = ""


class JsonLine(msgspec.Struct, frozen=True):
    row: int
    custom_id: str
    result: msgspec.Raw | OwnResult


class _ResultOnly(msgspec.Struct):
    result: msgspec.Raw


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_ResultOnly)


def write_jsonl(outcomes: Iterable[Outcome]) -> Iterator[bytes]:
    """A line per row with the API's result as it was received; in chunks of about 64 KB."""
    chunk = bytearray()
    for outcome in outcomes:
        line = JsonLine(outcome.row.number, clean(outcome.own_id), result_of(outcome))
        chunk += _encoder.encode(line)
        chunk += b"\n"
        if len(chunk) >= CHUNK_SIZE:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)


def result_of(outcome: Outcome) -> msgspec.Raw | OwnResult:
    if outcome.answer is None:
        return OwnResult(outcome.type, clean(outcome.reason))
    if result := cut_result(outcome.line):
        return msgspec.Raw(result)
    return OwnResult(outcome.type, raw=outcome.line.decode(errors="replace"))


def cut_result(line: bytes) -> bytes:
    """The result object of a line, byte for byte; empty where no object can be cut out.

    Bytes that are no UTF-8 are replaced, or nobody could read the file that they stand in.
    """
    try:
        result = bytes(_decoder.decode(line).result)
    except REFUSALS:
        result = _cut_by_braces(line)
    return result.decode(errors="replace").encode()


def _cut_by_braces(line: bytes) -> bytes:
    depth, start, name = 0, 0, b""
    for match in _TOKEN.finditer(line):
        token = match[0]
        if token in (b"{", b"["):
            depth += 1
            if depth == 2 and name == b'"result"':
                start = match.start()
        elif token in (b"}", b"]"):
            depth -= 1
            if depth == 1 and start:
                return line[start : match.end()]
        elif depth == 1:
            name = token
    return b""
