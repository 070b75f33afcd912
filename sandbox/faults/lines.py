"""Faults of the lines of results."""

import random
from collections.abc import AsyncIterator
from typing import Any, Literal

import msgspec
from aiohttp import web

from sandbox.faults.base import Operation, Positive, Spoiling
from sandbox.faults.merging import changed
from sandbox.faults.pieces import LINES, AsyncPieces, records
from sandbox.requests import Streamed

NEW_TEXT = "PLACEHOLDER"
TOO_DEEP = 20_000


class Lines(Spoiling, frozen=True, kw_only=True):
    operations = frozenset[Operation]({"results"})

    def fits(self, response: web.StreamResponse) -> bool:
        return response.content_type == LINES

    def spoil(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        assert isinstance(response, Streamed)
        response.pieces = self.changed(records(response.pieces, response))
        return response

    def changed(self, lines: AsyncIterator[bytes]) -> AsyncPieces:
        raise NotImplementedError


class MissingLines(Lines, frozen=True, kw_only=True, tag="missing_lines"):
    """The first `lines` are not there."""

    lines: Positive = 1

    async def changed(self, lines: AsyncIterator[bytes]) -> AsyncPieces:
        position = 0
        async for line in lines:
            if position >= self.lines:
                yield line
            position += 1


class DoubledLines(Lines, frozen=True, kw_only=True, tag="doubled_lines"):
    """The first `lines` come again at the end, the same or with a `different` result."""

    lines: Positive = 1
    different: bool = False

    async def changed(self, lines: AsyncIterator[bytes]) -> AsyncPieces:
        first: list[bytes] = []
        async for line in lines:
            if len(first) < self.lines:
                first.append(_contradicted(line) if self.different else line)
            yield line
        for line in first:
            yield line


def _contradicted(line: bytes) -> bytes:
    row = msgspec.json.decode(line)
    kind = "canceled" if row["result"]["type"] == "expired" else "expired"
    return msgspec.json.encode({**row, "result": {"type": kind}}) + b"\n"


class ForeignLines(Lines, frozen=True, kw_only=True, tag="foreign_lines"):
    """So many lines more, whose custom_id nobody sent."""

    lines: Positive = 1

    async def changed(self, lines: AsyncIterator[bytes]) -> AsyncPieces:
        position = 0
        async for line in lines:
            if position < self.lines:
                yield changed(line, {"custom_id": f"foreign-{position}"})
            position += 1
            yield line


class ShuffledLines(Lines, frozen=True, kw_only=True, tag="shuffled_lines"):
    """Another order, by `seed`."""

    async def changed(self, lines: AsyncIterator[bytes]) -> AsyncPieces:
        shuffled = [line async for line in lines]
        random.Random(self.seed).shuffle(shuffled)
        for line in shuffled:
            yield line


class UnendedLines(Lines, frozen=True, kw_only=True, tag="unended_lines"):
    """The last line has no newline."""

    async def changed(self, lines: AsyncIterator[bytes]) -> AsyncPieces:
        last = b""
        async for line in lines:
            if last:
                yield last
            last = line
        yield last.rstrip(b"\n")


class LongLines(Lines, frozen=True, kw_only=True, tag="long_lines"):
    """The answers of the first `lines` are so many bytes long."""

    lines: Positive = 1
    size: Positive = msgspec.field(name="bytes")

    def changed(self, lines: AsyncIterator[bytes]) -> AsyncPieces:
        return _replaced(lines, self.lines, b'"' + b"long " * (self.size // 5) + b'"')


# JSON values, all of which the API could send, and two things that are none.
ODD_TEXTS = {
    "nul": rb'"before\u0000after"',
    "lone_surrogate": rb'"before\ud800after"',
    "invalid_utf8": b'"before\xff\xfeafter"',
    "control_character": b'"before\x01after"',
    "long_number": b"9" * 5000,
    "nested": b"[" * TOO_DEEP + b"]" * TOO_DEEP,
}


class OddLines(Lines, frozen=True, kw_only=True, tag="odd_lines"):
    """The answers of the first `lines` hold what few readers expect."""

    lines: Positive = 1
    what: Literal[
        "nul", "lone_surrogate", "invalid_utf8", "control_character", "long_number", "nested",
        "not_json", "blank",
    ]  # fmt: skip

    def changed(self, lines: AsyncIterator[bytes]) -> AsyncPieces:
        if self.what in ODD_TEXTS:
            return _replaced(lines, self.lines, ODD_TEXTS[self.what])
        return self._whole(lines)

    async def _whole(self, lines: AsyncIterator[bytes]) -> AsyncPieces:
        position = 0
        async for line in lines:
            odd = line[: len(line) // 2] + b"\n" if self.what == "not_json" else b"\n" + line
            yield odd if position < self.lines else line
            position += 1


async def _replaced(lines: AsyncIterator[bytes], count: int, value: bytes) -> AsyncPieces:
    """The first `count` succeeded lines with another JSON value in the place of their text.

    What is no text stands in a field that is not known.
    """
    async for line in lines:
        row = msgspec.json.decode(line)
        if count == 0 or row["result"]["type"] != "succeeded":
            yield line
            continue
        count -= 1
        _mark(row["result"]["message"], value)
        yield msgspec.json.encode(row).replace(f'"{NEW_TEXT}"'.encode(), value) + b"\n"


def _mark(message: dict[str, Any], value: bytes) -> None:
    if value.startswith(b'"'):
        message["content"] = [{"type": "text", "text": NEW_TEXT, "citations": None}]
    else:
        message["future"] = NEW_TEXT
