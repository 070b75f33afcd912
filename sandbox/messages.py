"""`/v1/messages`, whole or streamed, and `/v1/messages/count_tokens`."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from aiohttp import web

from sandbox.identifiers import drawn
from sandbox.replies import answer, message
from sandbox.requests import SCOPE, VERSION, Streamed, json_body, reply
from sandbox.streaming import events
from sandbox.usage import count_input, is_marked, usage
from sandbox.validation import check_count, check_message

EVENT_STREAM = "text/event-stream; charset=utf-8"

routes = web.RouteTableDef()


@routes.post("/v1/messages")
async def create_message(request: web.Request) -> web.StreamResponse:
    body = await json_body(request)
    made = _message(request, body)
    if not body.get("stream"):
        return reply(made)
    response = Streamed(_paced(made, request[SCOPE].settings.token_rate), EVENT_STREAM)
    response.headers["cache-control"] = "no-cache"
    return response


def _message(request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
    model = check_message(body, request[VERSION])
    answered = answer(body, model)
    used = usage(
        count_input(body),
        request[SCOPE].prompt_cache.use(body, model) if is_marked(body) else None,
        answered.output_tokens,
        answered.thinking_tokens,
        "standard",
    )
    return message(body, answered, drawn("msg"), used)


async def _paced(made: dict[str, Any], rate: float) -> AsyncGenerator[bytes]:
    """Gives each event when its tokens are due: `rate` of them a second, all at once for 0.

    The pieces of a text have more tokens, counted alone, than the text: the pace is that of the
    usage.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    sent = list(events(made))
    counted = sum(event.tokens for event in sent)
    pause = made["usage"]["output_tokens"] / counted / rate if rate and counted else 0
    tokens = 0
    for event in sent:
        tokens += event.tokens
        early = started + tokens * pause - loop.time()
        if early > 0:
            await asyncio.sleep(early)
        yield event.wire


@routes.post("/v1/messages/count_tokens")
async def count_tokens(request: web.Request) -> web.Response:
    body = await json_body(request)
    check_count(body, request[VERSION])
    return reply({"input_tokens": count_input(body)})
