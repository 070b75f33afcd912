"""Good answers with another body than was promised."""

import zlib
from typing import Literal

import msgspec
from aiohttp import web

from sandbox.faults.base import Positive, Spoiling
from sandbox.faults.pieces import AsyncPieces, one
from sandbox.requests import Streamed

BLOCK = 1 << 20
BODIES: dict[str, tuple[str, bytes]] = {
    "invalid_json": ("application/json", b'{"id": "msgbatch_01cut'),
    "other_json": ("application/json", b'["pong"]'),
    "html": ("text/html", b"<html><body>Please sign in to this network.</body></html>\n"),
    "empty": ("application/json", b""),
}


class Body(Spoiling, frozen=True, kw_only=True, tag="body"):
    """200 with a body of another `form`, or the right one under another `content_type`."""

    form: Literal["right", "invalid_json", "other_json", "html", "empty"] = "right"
    content_type: str | None = None

    def spoil(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        if self.form != "right":
            content_type, content = BODIES[self.form]
            kept = response.content_type if self.form == "empty" else content_type
            response = web.Response(body=content, headers={"content-type": kept})
        if self.content_type is not None:
            response.headers["content-type"] = self.content_type
        return response


class GzipBomb(Spoiling, frozen=True, kw_only=True, tag="gzip_bomb"):
    """A small body in gzip that unpacks to so many bytes of nothing."""

    size: Positive = msgspec.field(default=1 << 30, name="bytes")

    def spoil(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        bomb = Streamed(self._blocks(), response.headers["content-type"])
        bomb.headers["content-encoding"] = "gzip"
        return bomb

    async def _blocks(self) -> AsyncPieces:
        press = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
        left = self.size
        while left > 0:
            yield press.compress(b" " * min(left, BLOCK))
            left -= BLOCK
        yield press.flush()


class Split(Spoiling, frozen=True, kw_only=True, tag="split"):
    """Comes in pieces of so many bytes, across characters, lines and events."""

    size: Positive = msgspec.field(default=1, name="bytes")

    def spoil(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        if isinstance(response, web.Response):
            assert isinstance(response.body, bytes)
            response = Streamed(one(response.body), response.headers["content-type"])
        assert isinstance(response, Streamed)
        response.pieces = self._split(response.pieces)
        return response

    async def _split(self, pieces: AsyncPieces) -> AsyncPieces:
        async for piece in pieces:
            for start in range(0, len(piece), self.size):
                yield piece[start : start + self.size]
