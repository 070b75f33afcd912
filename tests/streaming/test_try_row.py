import json

import pytest
from asgiref.sync import sync_to_async

from streaming.asking import request_of
from streaming.models import Conversation, Turn
from tests.cast import Cast
from tests.streaming.pages import words

PLACE = "/w/acme/conversations/try/"
REQUEST = {
    "model": "claude-haiku-4-5",
    "max_tokens": 20,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Classify: tröt\u2028 \n"}]}
    ],
    "metadata": {"user_id": "row-1207"},
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("asked", [REQUEST, {"custom_id": "1207_abcdefgh", "params": REQUEST}])
async def test_the_request_is_asked_exactly_so(cast: Cast, sign_in, asked) -> None:
    client = await sign_in(cast.bob)
    origin = "/w/acme/batches/41/recipe/?row=1207"
    response = await client.post(PLACE, {"request": json.dumps(asked), "origin": origin})
    turn = await Turn.objects.select_related("conversation").aget()
    assert response.headers["Location"] == f"/w/acme/conversations/{turn.conversation_id}/"
    assert await sync_to_async(request_of)(turn) == REQUEST
    assert (turn.conversation.title, turn.conversation.origin) == ("Classify: tröt", origin)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The request is no JSON."),
        ("[1]", "The request names no model."),
        ('{"model": 5, "messages": []}', "The request names no model."),
        ('{"model": "claude-haiku-4-5"}', "The request has no messages."),
        ('{"model": "claude-haiku-4-5", "messages": ["x"]}', "The request has no messages."),
        ('{"model": "' + "x" * 2_000_000 + '"}', "up to 2,000,000 can be tried live."),
        (json.dumps(REQUEST), "has no API key"),
    ],
)
def test_what_cannot_be_asked_is_said(cast: Cast, text: str, sentence: str) -> None:
    origin = "/w/acme/batches/41/recipe/?row=7"
    response = cast.client(cast.bob).post(PLACE, {"request": text, "origin": origin})
    said = words(response, 422)
    assert sentence in said
    assert "Back to the recipe" in said
    assert not Conversation.objects.exists()


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example/", "//evil.example/w/acme/", "/w/other/batches/1/", "javascript:x", "/"],
)
def test_a_way_back_that_leads_elsewhere_is_none(cast: Cast, origin: str) -> None:
    response = cast.client(cast.bob).post(PLACE, {"request": "", "origin": origin})
    assert origin not in response.content.decode().partition("<main")[2] or origin == "/"
    assert "Back" not in words(response, 422)
