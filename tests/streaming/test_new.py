import pytest

from streaming.models import Conversation, Turn
from tests.cast import Cast
from tests.streaming.pages import begin, ended, words
from tests.streaming.turns import PARAMETERS

PLACE = "/w/acme/conversations/new/"
FORM = {"token": "press-1", "prompt": "Name three\nrivers.", "model": "claude-haiku-4-5"}
FORM |= {"max_tokens": "200"}


@pytest.mark.django_db(transaction=True)
async def test_it_begins_a_conversation_once(cast: Cast, sign_in) -> None:
    client = await sign_in(cast.bob)
    responses = [await client.post(PLACE, FORM) for _ in range(2)]
    conversation = await Conversation.objects.aget()
    assert conversation.title == "Name three rivers."
    where = {response.headers["Location"] for response in responses}
    assert where == {f"/w/acme/conversations/{conversation.pk}/"}
    turn = await Turn.objects.aget()
    assert turn.parameters == PARAMETERS
    assert turn.requested_by_id == cast.bob.pk


def test_the_model_that_was_asked_last_is_chosen(cast: Cast, key: str) -> None:
    ended(begin(cast), parameters={"model": "claude-opus-5", "max_tokens": 5, "system": "Brief"})
    body = cast.client(cast.bob).get(PLACE).content.decode()
    assert 'value="claude-opus-5"' in body
    assert "Brief" not in body


def test_what_is_wrong_is_said_and_nothing_begins(cast: Cast, key: str) -> None:
    response = cast.client(cast.bob).post(PLACE, {**FORM, "max_tokens": "", "system": "Kept."})
    assert "Max tokens: This field is required." in words(response, 422)
    assert "Kept.</textarea>" in response.content.decode()
    assert not Conversation.objects.exists()


def test_without_a_key_nothing_begins(cast: Cast) -> None:
    said = words(cast.client(cast.bob).post(PLACE, FORM), 422)
    assert "has no API key. An owner can add one." in said
    assert not Conversation.objects.exists()
