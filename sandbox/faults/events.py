"""Faults of the events of a streamed message."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from sandbox.faults.base import Count, Operation, Seconds, Spoiling
from sandbox.faults.pieces import EVENTS, AsyncPieces, event, records
from sandbox.requests import REQUEST_ID, Streamed

PING = event({"type": "ping"})
ODD = {"type": "future_event", "future": {"seen": True}}


class Events(Spoiling, frozen=True, kw_only=True):
    operations = frozenset[Operation]({"messages"})

    def fits(self, response: web.StreamResponse) -> bool:
        return response.content_type == EVENTS

    def spoil(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        assert isinstance(response, Streamed)
        response.pieces = self.changed(records(response.pieces, response), request[REQUEST_ID])
        return response

    def changed(self, events: AsyncIterator[bytes], request_id: str) -> AsyncPieces:
        raise NotImplementedError


class ErrorEvent(Events, frozen=True, kw_only=True, tag="error_event"):
    """After so many `records` the stream tells of an error and ends."""

    records: Count = 3
    error_type: str = "overloaded_error"
    message: str = "Overloaded"

    async def changed(self, events: AsyncIterator[bytes], request_id: str) -> AsyncPieces:
        position = 0
        async for wire in events:
            if position == self.records:
                break
            yield wire
            position += 1
        error = {"type": self.error_type, "message": self.message, "details": None}
        yield event({"type": "error", "error": error, "request_id": request_id})


class Pings(Events, frozen=True, kw_only=True, tag="pings"):
    """After so many `records` nothing but pings, one `every` so often, for `seconds`."""

    seconds: Seconds
    every: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 1.0
    records: Count = 1

    async def changed(self, events: AsyncIterator[bytes], request_id: str) -> AsyncPieces:
        position = 0
        async for wire in events:
            if position == self.records:
                async for ping in self._pings():
                    yield ping
            yield wire
            position += 1

    async def _pings(self) -> AsyncPieces:
        loop = asyncio.get_running_loop()
        until = loop.time() + self.seconds
        while loop.time() < until:
            yield PING
            await asyncio.sleep(self.every)


class OddEvent(Events, frozen=True, kw_only=True, tag="odd_event"):
    """An event, a delta or a content block of a type that is not known yet."""

    what: Literal["event", "delta", "block"] = "event"

    async def changed(self, events: AsyncIterator[bytes], request_id: str) -> AsyncPieces:
        blocks = 0
        async for wire in events:
            if self.what == "block" and wire.startswith(b"event: message_delta"):
                yield _odd_block(blocks)
            yield wire
            blocks += wire.startswith(b"event: content_block_start")
            if self.what == "event" and wire.startswith(b"event: message_start"):
                yield event(ODD)
            if self.what == "delta" and wire.startswith(b"event: content_block_start"):
                delta = {"type": "future_delta", "future": "seen"}
                yield event({"type": "content_block_delta", "index": blocks - 1, "delta": delta})


def _odd_block(index: int) -> bytes:
    block = {"type": "future_block", "future": "seen"}
    start = event({"type": "content_block_start", "index": index, "content_block": block})
    return start + event({"type": "content_block_stop", "index": index})


class Padding(Events, frozen=True, kw_only=True, tag="padding"):
    """So many spaces before and after the JSON of every event."""

    spaces: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] = 20

    async def changed(self, events: AsyncIterator[bytes], request_id: str) -> AsyncPieces:
        padding = b" " * self.spaces
        async for wire in events:
            name, _, data = wire.strip().partition(b"\ndata: ")
            yield name + b"\ndata: " + padding + data + padding + b"\n\n"
