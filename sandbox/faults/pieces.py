"""The body of an answer as pieces, and as records: the lines of results, the events of a stream."""

import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec
from aiohttp import web

from sandbox.requests import Streamed

EVENTS = "text/event-stream"
LINES = "application/x-jsonl"
JSON = "application/json"

AsyncPieces = AsyncGenerator[bytes]


async def pieces_of(response: web.StreamResponse) -> AsyncPieces:
    if isinstance(response, Streamed):
        async for piece in response.pieces:
            yield piece
    elif isinstance(response, web.Response) and isinstance(response.body, bytes):
        yield response.body


def event(data: dict[str, Any]) -> bytes:
    """A server-sent event that is named as its type."""
    return f"event: {data['type']}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"


async def one(content: bytes) -> AsyncPieces:
    yield content


async def records(pieces: AsyncIterator[bytes], response: web.StreamResponse) -> AsyncPieces:
    """Each with its end; what follows the last end is one, too."""
    end = b"\n\n" if response.content_type == EVENTS else b"\n"
    waiting = b""
    async for piece in pieces:
        *whole, waiting = (waiting + piece).split(end)
        for record in whole:
            yield record + end
    if waiting:
        yield waiting


async def joined(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def zipped(pieces: AsyncIterator[bytes], finish: bool = True) -> AsyncPieces:
    """Each piece can be unzipped as soon as it is there."""
    press = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    async for piece in pieces:
        yield press.compress(piece) + press.flush(zlib.Z_SYNC_FLUSH)
    if finish:
        yield press.flush()
