"""Cutting bytes into lines and server-sent events.

Text is never cut: U+2028 and its kin are line breaks to str.splitlines, and ordinary
characters inside JSON.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from claude_api.errors import LineTooLong

LINE_LIMIT = 32 * 2**20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# How the events begin that come thousands of times.
BEGINNINGS = {
    f"event: {name}".encode(): name
    for name in ("content_block_delta", "content_block_start", "content_block_stop", "ping")
}


class Line(NamedTuple):
    """A line that is not blank; `number` counts from 1, `offset` and `length` are bytes.

    Bytes offset to offset + length of the whole are `data`, without its newline. Of a line
    above the limit `data` is empty.
    """

    number: int
    offset: int
    length: int
    data: bytes

    @property
    def too_long(self) -> bool:
        return len(self.data) < self.length


def split_jsonl(chunks: Iterable[bytes], limit: int = LINE_LIMIT) -> Iterator[bytes]:
    """Yield the lines of a JSONL file that comes in chunks of any size, blank ones left out.

    Raises LineTooLong at the first line above `limit` bytes.
    """
    for line in split_lines(chunks, limit):
        if line.too_long:
            raise LineTooLong(line.number, limit)
        yield line.data


def split_lines(chunks: Iterable[bytes], limit: int = LINE_LIMIT) -> Iterator[Line]:
    """Yield every line that is not blank, with its place; cut at \\n, one \\r before it dropped.

    A line above `limit` comes with its length and without its data; what follows it is read
    on. Takes time in proportion to the bytes, however long the lines are.
    """
    offset = 0
    for number, (data, size) in enumerate(_cut(chunks, limit), start=1):
        content = data.removesuffix(b"\r")
        if size > limit:
            yield Line(number, offset, size, b"")
        elif content and not content.isspace():
            yield Line(number, offset, len(content), content)
        offset += size + 1


def _cut(chunks: Iterable[bytes], limit: int) -> Iterator[tuple[bytes, int]]:
    """Yield (line, its size), the line empty where its size is above the limit."""
    pending: list[bytes] = []
    size = 0
    for chunk in chunks:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            size += len(end)
            if size > limit:
                yield b"", size
            else:
                pending.append(end)
                yield b"".join(pending), size
            pending, size = [], 0
        size += len(rest)
        if size > limit:
            pending = []
        elif rest:
            pending.append(rest)
    if size:
        yield b"".join(pending), size


class ServerSentEvent(NamedTuple):
    """One event as it stood on the wire; `event` is "message" where it was not named."""

    event: str
    data: bytes


class EventDecoder:
    """Reads text/event-stream as the WHATWG specification says; id and retry are ignored."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._pending: list[bytes] = []
        self._size = 0
        self._number = 0
        self._after_return = False
        self._event = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take the next bytes of the stream and return the events they complete.

        Raises LineTooLong where one event grows above the limit.
        """
        chunk, events = self._normalise(chunk), []
        if self._between_events():
            *blocks, chunk = chunk.split(b"\n\n")
            for block in blocks:
                first, _, data = block.partition(b"\ndata: ")
                if data and first in BEGINNINGS and len(block) <= self._limit and b"\n" not in data:
                    self._number += 3
                    events.append(ServerSentEvent(BEGINNINGS[first], data))
                else:
                    events += self._read_block(block)
            if not chunk:
                return events
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._keep(end)
            event = self._read(b"".join(self._pending))
            self._pending = []
            if event is not None:
                events.append(event)
        if rest:
            self._keep(rest)
        return events

    def _between_events(self) -> bool:
        return not (self._pending or self._data or self._event) and self._number > 0

    def _read_block(self, block: bytes) -> Iterator[ServerSentEvent]:
        for line in (*block.split(b"\n"), b""):
            self._keep(line)
            self._pending = []
            if (event := self._read(line)) is not None:
                yield event

    def _normalise(self, chunk: bytes) -> bytes:
        """Turn \\r\\n and \\r into \\n, a pair that is cut between two chunks included."""
        if self._after_return and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_return = False
        if chunk.endswith(b"\r"):
            self._after_return = True
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return chunk

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            raise LineTooLong(self._number + 1, self._limit)
        self._pending.append(part)

    def _read(self, line: bytes) -> ServerSentEvent | None:
        """Take one whole line; return the event that a blank line ends."""
        if self._number == 0:
            line = line.removeprefix(BYTE_ORDER_MARK)
        self._number += 1
        if not line:
            return self._finish()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            self._event = value
        elif field == b"data":
            self._data.append(value)
        return None

    def _finish(self) -> ServerSentEvent | None:
        event, data = self._event.decode(errors="replace"), self._data
        self._event, self._data, self._size = b"", [], 0
        return ServerSentEvent(event or "message", b"\n".join(data)) if data else None
