"""Below HTTP: a request read in part, an answer written by hand, a connection ended badly."""

import asyncio
import contextlib
import socket
import struct
from typing import Literal

from aiohttp import web

from sandbox.requests import CLIENT_GONE

End = Literal["fin", "reset"]
MOST_BUFFERED = 1 << 20
LOOK = 0.01
PATIENCE = 1.0
NO_LINGERING = struct.pack("ii", 1, 0)
FRAMING = ("content-length", "transfer-encoding", "connection")


async def read_body(request: web.Request, size: int | None = None) -> None:
    """Reads and forgets the body, or at least `size` bytes of it."""
    read = 0
    async for part in request.content.iter_any():
        read += len(part)
        if size is not None and read >= size:
            return


async def hang_up(request: web.Request, end: End = "fin") -> web.Response:
    """Ends the connection. What it returns is written to nobody."""
    transport = request.transport
    if transport is not None and end == "reset":
        await _drain(transport)
        peer: socket.socket = transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGERING)
        transport.abort()
    elif transport is not None:
        await _say_goodbye(request, transport)
    return web.Response(status=CLIENT_GONE)


async def _say_goodbye(request: web.Request, transport: asyncio.WriteTransport) -> None:
    """A close with unread bytes would be a reset: the rest is read first."""
    with contextlib.suppress(OSError, RuntimeError):
        transport.write_eof()
    with contextlib.suppress(TimeoutError, ConnectionError, web.RequestPayloadError):
        async with asyncio.timeout(PATIENCE):
            await read_body(request)
    transport.close()


async def keep_silent(request: web.Request, seconds: float) -> None:
    """Says nothing until the client has gone or the time is over."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    # Nothing tells a handler that its client has gone: it looks.
    while loop.time() < until and is_open(request):  # noqa: ASYNC110
        await asyncio.sleep(min(LOOK, seconds))


def is_open(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


async def _drain(transport: asyncio.WriteTransport, most: int = 0) -> None:
    while transport.get_write_buffer_size() > most and not transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(LOOK)


async def write(request: web.Request, data: bytes) -> None:
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client went away")
    transport.write(data)
    await _drain(transport, MOST_BUFFERED)


async def write_head(
    request: web.Request, response: web.StreamResponse, framing: dict[str, str]
) -> None:
    """Status line and headers as the sandbox would write them, but for the framing."""
    await request.app.on_response_prepare.send(request, response)
    written = response.headers.items()
    headers = {name: value for name, value in written if name.lower() not in FRAMING}
    headers |= {"Connection": "close", **framing}
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    await write(request, "\r\n".join([*lines, "", ""]).encode())
