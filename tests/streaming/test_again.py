from typing import Any

import pytest
from asgiref.sync import sync_to_async

from leases.clock import database_now
from streaming.models import Conversation, Turn
from tests.cast import Cast
from tests.streaming.pages import address, begin, ended, page_of, words
from tests.streaming.turns import HELLO, PARAMETERS

in_a_server = pytest.mark.django_db(transaction=True)


async def press(cast: Cast, sign_in, **fields: Any) -> tuple[Turn, Turn]:
    """The first of two turns is run again: that one, and the one which comes of it."""
    conversation = await sync_to_async(begin)(cast)
    turn = await sync_to_async(ended)(conversation, prompt=HELLO)
    await sync_to_async(ended)(conversation)
    client = await sign_in(cast.bob)
    place = address(conversation, f"turns/{turn.pk}/again/")
    response = await client.post(place, {"token": "press-2", **fields})
    assert response.status_code == 302
    await turn.arefresh_from_db()
    return turn, await conversation.turns.aget(number=3)


@in_a_server
async def test_a_turn_is_run_once_more(cast: Cast, sign_in) -> None:
    turn, second = await press(cast, sign_in)
    assert (second.prompt, second.parameters) == (HELLO, PARAMETERS)
    assert turn.replaced_at is not None
    standing = Turn.objects.standing().filter(conversation=turn.conversation_id)
    assert [one.pk async for one in standing] == [second.pk]


@in_a_server
async def test_with_another_text(cast: Cast, sign_in) -> None:
    _, second = await press(cast, sign_in, prompt="Four\r\nrivers.")
    assert second.prompt == [{"role": "user", "content": "Four\nrivers."}]


@in_a_server
async def test_with_more_room(cast: Cast, sign_in) -> None:
    _, second = await press(cast, sign_in, max_tokens="800")
    assert second.parameters == {**PARAMETERS, "max_tokens": 800}


def test_more_room_is_offered_as_far_as_the_model_goes(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    ended(conversation, stop_reason="max_tokens")
    said = page_of(cast, conversation)
    assert "Cut off at 200 tokens. Continue Raise to 800 and run again" in said
    live = cast.workspace.live_key()
    assert live is not None
    model = {"id": "claude-haiku-4-5", "max_tokens": 500}
    type(live).objects.filter(pk=live.pk).update(models=[model])
    assert "Raise to 500 and run again" in page_of(cast, conversation)


def ask(cast: Cast, conversation: Conversation, turn: Turn, method: str, **fields: str) -> Any:
    client = cast.client(cast.bob)
    return getattr(client, method)(address(conversation, f"turns/{turn.pk}/again/"), fields)


def test_the_text_can_be_edited(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    turn = ended(conversation, "Which <rivers>?")
    ended(conversation)
    response = ask(cast, conversation, turn, "get")
    assert "Which &lt;rivers&gt;?</textarea>" in response.content.decode()
    assert "The 1 turn after it and its answer stay folded" in words(response)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"token": "x", "prompt": " "}, "Write what you want to know."),
        ({"token": ""}, "This field is required."),
        ({"token": "x", "max_tokens": "many"}, "Enter a whole number."),
    ],
)
def test_bad_input_changes_nothing(
    cast: Cast, key: str, fields: dict[str, str], sentence: str
) -> None:
    conversation = begin(cast)
    turn = ended(conversation)
    assert sentence in words(ask(cast, conversation, turn, "post", **fields), 422)
    assert conversation.turns.standing().count() == 1


def test_what_was_run_again_already_is_left_alone(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    turn = ended(conversation, replaced_at=database_now())
    said = words(ask(cast, conversation, turn, "post", token="x"), 422)
    assert "This turn was run again meanwhile." in said


def test_an_attempt_is_folded(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    ended(conversation, "The first text", replaced_at=database_now())
    body = cast.client(cast.bob).get(address(conversation)).content.decode()
    assert '<details class="turn attempt"' in body
    assert "Edit and run" not in body
