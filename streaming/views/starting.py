"""What a press starts: a view asks in the database, then a relay writes in the event loop."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse

from streaming import relay
from streaming.asking import ask, client_of, request_of, usable_key
from streaming.models import Conversation, Turn
from workspaces.models import ApiKey

View = Callable[..., "HttpResponse | Started"]


class Started(NamedTuple):
    """A Turn that was asked, with what its relay needs, and the answer to the browser."""

    turn: Turn
    request: dict[str, Any]
    key: ApiKey
    response: HttpResponse


def press(
    conversation: Conversation,
    prompt: list[dict[str, Any]],
    parameters: dict[str, Any],
    at: Any,
    **how: Any,
) -> tuple[Turn, dict[str, Any], ApiKey] | Turn:
    """Ask; the Turn alone where the same press came before. Raises CannotAsk."""
    key = usable_key(conversation.workspace)
    turn, is_new = ask(conversation, prompt, parameters, at, **how)
    return (turn, request_of(turn), key) if is_new else turn


def starts_relay(view: View) -> Callable[..., Coroutine[Any, Any, HttpResponse]]:
    """For a view that is written like any other, and may give Started in place of a response."""

    @wraps(view)
    async def run(request: HttpRequest, *given: Any, **named: Any) -> HttpResponse:
        # Shielded: a browser that leaves meanwhile leaves no Turn behind that nobody writes.
        return await asyncio.shield(asyncio.ensure_future(begin(request, *given, **named)))

    async def begin(request: HttpRequest, *given: Any, **named: Any) -> HttpResponse:
        answer = await sync_to_async(view)(request, *given, **named)
        if not isinstance(answer, Started):
            return answer
        key = answer.key
        relay.start(answer.turn, answer.request, lambda: client_of(key))
        return answer.response

    return run
