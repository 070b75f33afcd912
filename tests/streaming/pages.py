"""Pages of conversations for tests: turns that have ended, and what a page says."""

from datetime import timedelta
from html import unescape
from typing import Any

from django.http import HttpResponse
from django.utils.html import strip_tags

from leases.clock import database_now
from streaming import asking
from streaming.models import Conversation, Turn
from tests.cast import Cast
from tests.streaming.turns import PARAMETERS

TEXT = [{"type": "text", "text": "The **Danube** and the Rhine."}]
CALL = [
    {"type": "text", "text": "I look it up."},
    {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}},
]


def begin(cast: Cast, title: str = "Rivers", **options: Any) -> Conversation:
    workspace = options.pop("workspace", cast.workspace)
    return asking.begin(workspace, title, database_now(), actor=cast.bob, **options)


def ended(conversation: Conversation, text: str = "Name three rivers.", **fields: Any) -> Turn:
    """A turn that is over: answered whole, unless the fields say otherwise."""
    at = database_now()
    content = fields.pop("content", TEXT)
    given: dict[str, Any] = {
        "number": conversation.turns.count() + 1,
        "token": f"token-{conversation.turns.count()}",
        "prompt": [{"role": "user", "content": text}],
        "parameters": PARAMETERS,
        "state": Turn.State.DONE,
        "stop_reason": "end_turn",
        "answer": {"model": "claude-haiku-4-5-20251001", "content": content},
        "usage": {"input_tokens": 412, "output_tokens": 214},
        "asked_at": at - timedelta(seconds=5),
        "first_token_at": at - timedelta(seconds=4.2),
        "ended_at": at,
    }
    return Turn.objects.create(conversation=conversation, **{**given, **fields})


def address(conversation: Conversation, more: str = "") -> str:
    return f"/w/{conversation.workspace.slug}/conversations/{conversation.pk}/{more}"


def words(response: HttpResponse, status: int = 200) -> str:
    """What a page says, in one line."""
    assert response.status_code == status
    return " ".join(unescape(strip_tags(response.content.decode())).split())


def page_of(cast: Cast, conversation: Conversation, name: str = "bob", query: str = "") -> str:
    return words(cast.client(getattr(cast, name)).get(address(conversation, query)))
