"""A request that was rendered elsewhere, opened live: a dry run before money is spent."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from claude_api.tolerant import decode_clean
from streaming.asking import CannotAsk
from streaming.forms import new_token
from streaming.origins import Origin, clean_origin
from streaming.parameters import NOT_HERE
from streaming.showing import read_blocks
from streaming.views.finding import MEMBER
from streaming.views.new import begin_with
from streaming.views.starting import Started, starts_relay
from workspaces.access import require

MOST = 2_000_000  # bytes


class NoRequest(Exception):
    """Why what was sent cannot be asked."""


@require_POST
@starts_relay
def try_row(request: HttpRequest, slug: str) -> HttpResponse | Started:
    """A conversation with one turn: the request exactly as it was given."""
    workspace = require(request, slug, MEMBER)
    origin = clean_origin(request.POST.get("origin", ""), slug)
    try:
        asked = read_request(request.POST.get("request", ""))
        messages = asked["messages"]
        parameters = {name: value for name, value in asked.items() if name not in NOT_HERE}
        return begin_with(
            request,
            workspace,
            messages,
            parameters,
            token=request.POST.get("token", "")[:64] or new_token(),
            title=title_of(messages),
            origin=origin,
        )
    except (NoRequest, CannotAsk) as error:
        context = {"workspace": workspace, "problem": str(error), "origin": Origin.of(origin)}
        return render(request, "streaming/try_row.html", context, status=422)


def read_request(text: str) -> dict[str, Any]:
    """The parameters of a request as JSON; NoRequest where it is none."""
    data = text.encode(errors="replace")
    if len(data) > MOST:
        raise NoRequest(f"The request has {len(data):,} bytes; up to {MOST:,} can be tried live.")
    try:
        asked = decode_clean(data)
    except ValueError:
        raise NoRequest("The request is no JSON.") from None
    if isinstance(asked, dict) and isinstance(asked.get("params"), dict):
        # A line of a Message Batch holds the request under the row's id.
        asked = asked["params"]
    if not isinstance(asked, dict) or not isinstance(asked.get("model"), str):
        raise NoRequest("The request names no model.")
    messages = asked.get("messages")
    sound = isinstance(messages, list) and all(isinstance(one, dict) for one in messages)
    if not sound or not messages:
        raise NoRequest("The request has no messages.")
    return asked


def title_of(messages: list[dict[str, Any]]) -> str:
    blocks = read_blocks(messages[-1].get("content"))
    return next((block.text for block in blocks if block.kind == "text"), "") or "Untitled"
