"""Faults of how an answer travels: cut, slow, with a wrong length, in another transfer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from sandbox.faults.base import Count, Fault, Seconds
from sandbox.faults.pieces import AsyncPieces, joined, one, pieces_of, records, zipped
from sandbox.faults.wire import End, hang_up, write, write_head
from sandbox.requests import Streamed

Form = Literal["length", "chunked", "close"]
TICKS = 10  # writes a second of a slow answer
LAST_CHUNK = b"0\r\n\r\n"


class Delivery(Fault, frozen=True, kw_only=True):
    """Writes the answer to the socket itself and ends the connection after it.

    `transfer` is by a declared length, in chunks, or until the connection closes; without it as
    the answer would have travelled.
    """

    layer = "delivery"

    transfer: Form | None = None
    gzip: bool = False

    def content(self, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """What is done to the records of the answer: lines of results, events of a stream."""
        return lines

    def coded(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """What is done to the bytes of the body as they travel, compressed or not."""
        return parts

    def finishes_gzip(self) -> bool:
        return True

    async def length(self, whole: bytes, response: web.StreamResponse) -> int:
        """The length that is declared."""
        return len(await joined(self._zipped(records(one(whole), response))))

    async def close(self, request: web.Request, form: Form) -> web.Response:
        if form == "chunked":
            await write(request, LAST_CHUNK)
        return await hang_up(request)

    async def deliver(
        self, request: web.Request, response: web.StreamResponse
    ) -> web.StreamResponse:
        form = self.transfer or ("chunked" if isinstance(response, Streamed) else "length")
        if self.gzip:
            response.headers["content-encoding"] = "gzip"
        async with aclosing(pieces_of(response)) as pieces:
            framing = {"Transfer-Encoding": "chunked"} if form == "chunked" else {}
            if form == "length":
                whole = await joined(pieces)
                framing = {"Content-Length": str(await self.length(whole, response))}
                pieces = one(whole)
            await write_head(request, response, framing)
            async for part in self.travelling(pieces, response):
                await write(request, _chunk(part) if form == "chunked" else part)
        return await self.close(request, form)

    def travelling(
        self, pieces: AsyncIterator[bytes], response: web.StreamResponse
    ) -> AsyncIterator[bytes]:
        content = self.content(records(pieces, response))
        return self.coded(self._zipped(content, self.finishes_gzip()))

    def _zipped(self, content: AsyncIterator[bytes], finish: bool = True) -> AsyncIterator[bytes]:
        return zipped(content, finish) if self.gzip else content


def _chunk(part: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(part), part) if part else b""


class Transfer(Delivery, frozen=True, kw_only=True, tag="transfer"):
    """The whole answer, in the stated transfer."""


class Cut(Delivery, frozen=True, kw_only=True, tag="cut"):
    """The answer ends after so many `records` and `bytes`; without either, after its headers.

    Without records the bytes are those of the body as it travels, and -1 leaves out its last.
    With the end `whole` the transfer is finished well: nobody but who counts can see it.
    """

    records: Count | None = None
    size: int = msgspec.field(default=0, name="bytes")
    end: End | Literal["whole"] = "fin"

    def content(self, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return lines if self.records is None else _first_records(lines, self.records, self.size)

    def coded(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return parts if self.records is not None else _first_bytes(parts, self.size)

    def finishes_gzip(self) -> bool:
        return self.records is None or self.end == "whole"

    async def length(self, whole: bytes, response: web.StreamResponse) -> int:
        if self.end == "whole":
            return len(await joined(self.travelling(one(whole), response)))
        return await super().length(whole, response)

    async def close(self, request: web.Request, form: Form) -> web.Response:
        if self.end == "whole":
            return await super().close(request, form)
        return await hang_up(request, self.end)


async def _first_records(lines: AsyncIterator[bytes], count: int, size: int) -> AsyncPieces:
    position = 0
    async for line in lines:
        if position == count:
            yield line[:size]
            return
        yield line
        position += 1


async def _first_bytes(parts: AsyncIterator[bytes], size: int) -> AsyncPieces:
    if size < 0:
        yield (await joined(parts))[:size]
        return
    async for part in parts:
        yield part[:size]
        size -= len(part)
        if size <= 0:
            return


class Pause(Delivery, frozen=True, kw_only=True, tag="pause"):
    """The answer stops for so many seconds after `records` or `bytes` of it, then goes on."""

    seconds: Seconds
    records: Count | None = None
    size: Count = msgspec.field(default=0, name="bytes")

    def content(self, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return lines if self.records is None else _stopping(lines, self.records, self.seconds)

    def coded(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        if self.records is not None:
            return parts
        return _stopping(_split_at(parts, self.size), min(self.size, 1), self.seconds)


async def _stopping(parts: AsyncIterator[bytes], count: int, seconds: float) -> AsyncPieces:
    position = 0
    async for part in parts:
        if position == count:
            await asyncio.sleep(seconds)
        yield part
        position += 1


async def _split_at(parts: AsyncIterator[bytes], size: int) -> AsyncPieces:
    """The first `size` bytes in one part, then the others as they come."""
    first = b""
    async for part in parts:
        if len(first) >= size:
            yield part
            continue
        first += part
        if len(first) >= size:
            yield first[:size]
            yield first[size:]
    if len(first) < size:
        yield first


class Slow(Delivery, frozen=True, kw_only=True, tag="slow"):
    """The body comes with so many bytes a second."""

    rate: Annotated[float, msgspec.Meta(gt=0, le=1e9)]

    async def coded(self, parts: AsyncIterator[bytes]) -> AsyncPieces:
        size = max(1, int(self.rate / TICKS))
        async for part in parts:
            for start in range(0, len(part), size):
                slice = part[start : start + size]
                yield slice
                await asyncio.sleep(len(slice) / self.rate)


class WrongLength(Delivery, frozen=True, kw_only=True, tag="wrong_length"):
    """The header declares so many bytes more, or less, than come."""

    by: int
    transfer: Literal["length"] = "length"

    async def length(self, whole: bytes, response: web.StreamResponse) -> int:
        return max(0, await super().length(whole, response) + self.by)
