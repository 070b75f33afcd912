from typing import Any

import pytest
from asgiref.sync import sync_to_async

from streaming.asking import request_of
from streaming.models import Turn
from tests.cast import Cast
from tests.streaming.pages import TEXT, address, begin, ended, page_of, words

BROKEN: dict[str, Any] = {"state": Turn.State.INTERRUPTED, "stop_reason": "", "reason": "Broke."}


@pytest.mark.django_db(transaction=True)
async def test_the_rest_of_an_answer_is_asked_for(cast: Cast, sign_in) -> None:
    conversation = await sync_to_async(begin)(cast)
    turn = await sync_to_async(ended)(conversation, **BROKEN)
    client = await sign_in(cast.bob)
    place = address(conversation, f"turns/{turn.pk}/continue/")
    response = await client.post(place, {"token": "press-2"})
    assert response.status_code == 302
    second = await Turn.objects.aget(continues=turn)
    # Up to Claude 4.5 the answer is begun, and Claude goes on with it.
    assert second.prompt == [{"role": "assistant", "content": TEXT[0]["text"]}]


@pytest.mark.django_db(transaction=True)
async def test_what_claude_paused_is_sent_back_as_it_is(cast: Cast, sign_in) -> None:
    conversation = await sync_to_async(begin)(cast)
    turn = await sync_to_async(ended)(conversation, stop_reason="pause_turn")
    client = await sign_in(cast.bob)
    await client.post(address(conversation, f"turns/{turn.pk}/continue/"), {"token": "press-2"})
    second = await conversation.turns.aget(number=2)
    request = await sync_to_async(request_of)(second)
    assert [message["role"] for message in request["messages"]] == ["user", "assistant"]


def test_it_is_offered_where_there_is_something_to_go_on_with(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    ended(conversation, **BROKEN)
    assert "Broke. Continue Run again" in page_of(cast, conversation)
    ended(conversation, **BROKEN, content=[])
    said = page_of(cast, conversation)
    assert "Broke. Run again" in said
    assert "Continue" not in said


@pytest.mark.parametrize("fields", [{}, {"stop_reason": "refusal"}, {**BROKEN, "content": []}])
def test_a_whole_answer_is_not_gone_on_with(cast: Cast, key: str, fields: dict[str, Any]) -> None:
    conversation = begin(cast)
    turn = ended(conversation, **fields)
    place = address(conversation, f"turns/{turn.pk}/continue/")
    response = cast.client(cast.bob).post(place, {"token": "x"})
    assert "cannot be gone on with any more" in words(response, 422)
    assert conversation.turns.count() == 1


def test_nor_is_one_that_others_followed(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    turn = ended(conversation, **BROKEN)
    ended(conversation)
    place = address(conversation, f"turns/{turn.pk}/continue/")
    assert cast.client(cast.bob).post(place, {"token": "x"}).status_code == 422
