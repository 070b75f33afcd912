import pytest
from asgiref.sync import sync_to_async

from tests.cast import Cast
from tests.streaming.pages import CALL, address, begin, ended, page_of, words
from tests.streaming.turns import PARAMETERS

TOOLS = [{"name": "get_weather", "input_schema": {"type": "object"}}]
WAITING = {"content": CALL, "stop_reason": "tool_use", "parameters": {**PARAMETERS, "tools": TOOLS}}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("failed", [False, True])
async def test_the_turn_goes_on_with_the_result(cast: Cast, sign_in, failed: bool) -> None:
    conversation = await sync_to_async(begin)(cast)
    turn = await sync_to_async(ended)(conversation, **WAITING)
    client = await sign_in(cast.bob)
    fields = {"token": "press-2", "result-1": "3 degrees"} | ({"failed-1": "on"} if failed else {})
    response = await client.post(address(conversation, f"turns/{turn.pk}/results/"), fields)
    assert response.status_code == 302
    second = await conversation.turns.aget(number=2)
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "3 degrees"}
    result |= {"is_error": True} if failed else {}
    assert second.prompt == [{"role": "user", "content": [result]}]
    assert second.parameters == turn.parameters


def test_each_call_has_its_field(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    ended(conversation, **WAITING)
    said = page_of(cast, conversation)
    assert "Tool call: get_weather" in said
    assert "Result of get_weather It failed: this is its error" in said
    assert "Result of" not in page_of(cast, conversation, "vera")


def test_what_was_answered_is_not_asked_for_again(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    turn = ended(conversation, **WAITING)
    ended(conversation)
    assert "Claude called a tool" not in page_of(cast, conversation)
    place = address(conversation, f"turns/{turn.pk}/results/")
    response = cast.client(cast.bob).post(place, {"token": "x", "result-1": ""})
    assert "waits for no result" in words(response, 422)


def test_an_answer_without_a_call_takes_none(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    turn = ended(conversation)
    place = address(conversation, f"turns/{turn.pk}/results/")
    assert cast.client(cast.bob).post(place, {"token": "x"}).status_code == 422
