"""What a handler finds on a request, and how it answers."""

import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import msgspec
from aiohttp import web

from sandbox.errors import ApiError, invalid
from sandbox.scopes import Scope
from sandbox.splitting import decode

REQUEST_ID = web.RequestKey("request_id", str)
SCOPE = web.RequestKey("scope", Scope)
MOST_BYTES = web.AppKey("most_bytes", int)
PLAIN = "identity"
WORTH_ANOTHER_TRY = (408, 409, 429)  # to the official SDKs
VERSION = web.RequestKey("version", str)
CLIENT_GONE = 499  # nobody is left to read it
# What a fault asks of a handler, and what it hears from it.
RECEIVED: web.RequestKey[Callable[[], Awaitable[None]]] = web.RequestKey("received")
UNSEEN = web.RequestKey("unseen", timedelta)
COUNTS_EARLY = web.RequestKey("counts_early", bool)
EFFECT = web.RequestKey("effect", str)
FOREIGN = web.RequestKey("foreign", list[str])


class Streamed(web.StreamResponse):
    """An answer that is sent piece by piece, each as soon as it is there."""

    def __init__(self, pieces: AsyncGenerator[bytes], content_type: str) -> None:
        super().__init__(headers={"content-type": content_type})
        self.pieces = pieces

    async def write_eof(self, data: bytes = b"") -> None:
        async with aclosing(self.pieces) as pieces:
            async for piece in pieces:
                await self.write(piece)
        await super().write_eof(data)


async def received(request: web.Request) -> None:
    """Called by a handler that has the whole request and has not done anything yet."""
    if RECEIVED in request:
        await request[RECEIVED]()


async def json_body(request: web.Request) -> dict[str, Any]:
    """The body, plain or in gzip; which other encodings the API takes is not documented."""
    content = await request.read()
    if encoding(request) == "gzip":
        content = _unzipped(content, request.app[MOST_BYTES])
    elif encoding(request) != PLAIN:
        raise unsupported(encoding(request))
    body = decode(content)
    if not isinstance(body, dict):
        raise invalid("Input should be a valid dictionary")
    return body


def encoding(request: web.Request) -> str:
    return request.headers.get("content-encoding", PLAIN).strip().lower()


def unsupported(name: str) -> ApiError:
    message = f"content-encoding: {name} is not supported"
    return invalid(message, "request_body_encoding_unsupported")


def _unzipped(content: bytes, most: int) -> bytes:
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        plain = stream.decompress(content, most + 1)
    except zlib.error as error:
        message = f"The request body is not valid gzip: {error}"
        raise invalid(message, "request_body_encoding_invalid") from error
    if len(plain) > most:
        message, code = "Request exceeds the maximum size", "request_body_too_large_after_decoding"
        raise ApiError(413, "request_too_large", message, code)
    if not stream.eof:
        message = "The request body is not valid gzip: it ends early"
        raise invalid(message, "request_body_encoding_invalid")
    return plain


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body),
        status=status,
        content_type="application/json",
        headers=headers,
    )


def refusal(error: ApiError, request_id: str | None) -> web.Response:
    response = reply(error.body(request_id), status=error.status)
    if 400 <= error.status < 500 and error.status not in WORTH_ANOTHER_TRY:
        response.headers["x-should-retry"] = "false"
    return response
