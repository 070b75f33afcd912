"""What a handler finds on a request, and how it answers."""

from typing import Any

import msgspec
from aiohttp import web

from sandbox.errors import invalid
from sandbox.scopes import Scope
from sandbox.splitting import decode

REQUEST_ID = web.RequestKey("request_id", str)
SCOPE = web.RequestKey("scope", Scope)
VERSION = web.RequestKey("version", str)


async def json_body(request: web.Request) -> dict[str, Any]:
    body = decode(await request.read())
    if not isinstance(body, dict):
        raise invalid("Input should be a valid dictionary")
    return body


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body),
        status=status,
        content_type="application/json",
        headers=headers,
    )
