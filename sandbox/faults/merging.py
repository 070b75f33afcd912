"""Other content in good JSON: fields set, also where they have never been seen."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from aiohttp import web

from sandbox.faults.base import Count, Spoiling
from sandbox.faults.pieces import EVENTS, JSON, LINES, AsyncPieces, event, records
from sandbox.requests import Streamed


class Change(Spoiling, frozen=True, kw_only=True, tag="change"):
    """Sets `fields`, also inside of fields that are objects.

    In every batch or model of a list, in the first `records` of the results (none given: all),
    in every `event` of a stream.
    """

    fields: dict[str, Any]
    records: Count | None = None
    event: str | None = None

    def fits(self, response: web.StreamResponse) -> bool:
        if self.event is not None:
            return response.content_type == EVENTS
        return response.content_type in (JSON, LINES)

    def spoil(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        if isinstance(response, web.Response):
            assert isinstance(response.body, bytes)
            response.body = self._changed_body(response.body)
        elif isinstance(response, Streamed):
            lines = records(response.pieces, response)
            response.pieces = self._events(lines) if self.event else self._lines(lines)
        return response

    def _changed_body(self, content: bytes) -> bytes:
        body = msgspec.json.decode(content)
        if isinstance(body.get("data"), list):
            data = [merged(item, self.fields) for item in body["data"]]
            return msgspec.json.encode({**body, "data": data})
        return msgspec.json.encode(merged(body, self.fields))

    async def _lines(self, lines: AsyncIterator[bytes]) -> AsyncPieces:
        position = 0
        async for line in lines:
            within = self.records is None or position < self.records
            yield changed(line, self.fields) if within else line
            position += 1

    async def _events(self, events: AsyncIterator[bytes]) -> AsyncPieces:
        async for wire in events:
            name, _, data = wire.strip().partition(b"\ndata: ")
            if name == f"event: {self.event}".encode():
                wire = event(merged(msgspec.json.decode(data), self.fields))
            yield wire


def changed(line: bytes, fields: dict[str, Any]) -> bytes:
    return msgspec.json.encode(merged(msgspec.json.decode(line), fields)) + b"\n"


def merged(body: Any, fields: dict[str, Any]) -> Any:
    """The body with the fields; an object among them is merged into an object of the body."""
    result = dict(body)
    for name, value in fields.items():
        known = result.get(name)
        both = isinstance(known, dict) and isinstance(value, dict)
        result[name] = merged(known, value) if both else value
    return result
