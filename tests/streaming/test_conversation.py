import asyncio
from decimal import Decimal
from typing import Any

import pytest
from django.http import HttpResponse

from claude_api import read_usage
from claude_api.pricing import LIVE_SHARE, cost
from leases.clock import database_now
from streaming.models import Conversation, Turn
from streaming.storing import interrupt_abandoned
from tests.cast import Cast
from tests.processes import Sandbox
from tests.streaming.conftest import all_written
from tests.streaming.pages import CALL, address, begin, ended, page_of, words
from tests.streaming.turns import PARAMETERS, ask_whole, make_turn

FORM = {"token": "press-1", "prompt": "Name three rivers.", "model": "claude-haiku-4-5"}
FORM |= {"max_tokens": "200"}


def post(cast: Cast, conversation: Conversation, **fields: Any) -> HttpResponse:
    return cast.client(cast.bob).post(address(conversation), {**FORM, **fields})


def test_it_shows_prompt_and_answer(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    ended(conversation, "Which rivers?", requested_by=cast.bob)
    said = page_of(cast, conversation)
    assert "bob Which rivers?" in said
    assert "end_turn 412 in, 214 out · first token 0.8 s · 51/s · 5.0 s" in said
    body = cast.client(cast.bob).get(address(conversation)).content.decode()
    assert "<strong>Danube</strong>" in body
    assert "The **Danube** and the Rhine.</div>" in body


def test_a_viewer_reads_and_has_nothing_to_press(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    ended(conversation)
    said = page_of(cast, conversation, "vera")
    assert "You can read here. Members can send." in said
    for word in ("Send the", "Run again", "Edit and run", "Settings panel", "Rename"):
        assert word not in said


def test_what_a_model_wrote_is_text(cast: Cast, key: str) -> None:
    conversation = begin(cast, "<b>title</b>")
    bad = "<script>alert(1)</script>"
    blocks = [
        {"type": "text", "text": bad},
        {"type": "thinking", "thinking": bad, "signature": "x"},
        {"type": "tool_use", "id": "t", "name": bad, "input": {bad: bad}},
        {"type": bad, "data": bad},
    ]
    ended(conversation, bad, content=blocks)
    body = cast.client(cast.bob).get(address(conversation)).content.decode()
    assert "<script>alert" not in body
    assert "<b>title" not in body


def test_the_last_settings_fill_the_form(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    more = {"system": "Be brief.", "stop_sequences": ["END"], "tool_choice": {"type": "auto"}}
    ended(conversation, parameters={**PARAMETERS, **more})
    body = cast.client(cast.bob).get(address(conversation)).content.decode()
    assert "Be brief.</textarea>" in body
    assert "&quot;stop_sequences&quot;" in body
    assert 'value="200"' in body


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"prompt": " \r\n "}, "Write what you want to know."),
        ({"model": "", "other_model": ""}, "Model: Choose a model, or type its id."),
        ({"max_tokens": "many"}, "Max tokens: Enter a whole number."),
        ({"max_tokens": "0"}, "Max tokens: Ensure this value is greater than or equal to 1."),
        ({"tools": '[\n {"name": }\n]'}, "Tools: Line 2, column 11: a value is missing"),
        ({"tools": "{}"}, "Tools: This is not a list of objects."),
        ({"output_format": "[]"}, "Output format: This is not an object."),
        ({"output_format": "{'a': 1}"}, 'Line 1, column 2: write " instead'),
        ({"extra": '{"messages": []}'}, "messages is set by the conversation itself."),
        ({"extra": '{"model": "x"}'}, "model has a field of its own"),
        ({"thinking": "enabled"}, "Budget: Write how many tokens it may think."),
        ({"thinking": "enabled", "budget": "2000"}, "The budget has to be below max tokens."),
        ({"thinking": "hard"}, "Thinking: Select a valid choice."),
        ({"token": ""}, "This form is too old."),
        ({"prompt": "a\0b"}, "Null characters are not allowed."),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_is_kept(
    cast: Cast, key: str, fields: dict[str, str], sentence: str
) -> None:
    conversation = begin(cast)
    typed = {"system": "Be brief, please do.", **fields}
    response = post(cast, conversation, **typed)
    assert sentence in words(response, 422)
    assert "Be brief, please do.</textarea>" in response.content.decode()
    assert not conversation.turns.exists()


def test_the_limits_of_the_model_are_known(cast: Cast, key: str) -> None:
    live = cast.workspace.live_key()
    assert live is not None
    capabilities = {"thinking": {"types": {"adaptive": {"supported": False}}}, "effort": {}}
    model = {"id": "claude-haiku-4-5-20251001", "max_tokens": 64000, "capabilities": capabilities}
    type(live).objects.filter(pk=live.pk).update(models=[model])
    wrong = {"max_tokens": "64001", "thinking": "adaptive", "effort": "low"}
    said = words(post(cast, begin(cast), **wrong), 422)
    assert "answers with at most 64,000 tokens" in said
    assert "claude-haiku-4-5 does not take this. Choose another." in said
    assert "claude-haiku-4-5 does not take this effort." in said


def test_without_a_key_it_says_who_can_help(cast: Cast) -> None:
    conversation = begin(cast)
    assert "has no API key" in page_of(cast, conversation)
    assert "has no API key" in words(post(cast, conversation), 422)


def test_one_answer_at_a_time(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    make_turn(conversation)
    said = words(post(cast, conversation), 422)
    assert "An answer is being written. Stop it, or wait for its end." in said


def test_a_call_of_a_tool_waits_for_its_result(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    ended(conversation, content=CALL, stop_reason="tool_use")
    assert "Claude waits for the result of a tool" in words(post(cast, conversation), 422)


@pytest.mark.django_db(transaction=True)
async def test_it_asks_and_the_answer_is_written(
    cast: Cast, sign_in, sandbox: Sandbox, key: str
) -> None:
    conversation = await Conversation.objects.acreate(workspace=cast.workspace, title="Rivers")
    client = await sign_in(cast.bob)
    response = await client.post(address(conversation), {**FORM, "prompt": "One\r\ntwo"})
    assert response.status_code == 302
    turn = await Turn.objects.aget(conversation=conversation)
    await all_written()
    await turn.arefresh_from_db()
    assert turn.state == Turn.State.DONE
    assert turn.prompt == [{"role": "user", "content": "One\ntwo"}]
    request = {**PARAMETERS, "messages": turn.prompt}
    whole = await asyncio.to_thread(ask_whole, sandbox, key, request)
    assert turn.content == whole["content"]
    assert turn.cost == cost(whole["model"], read_usage(whole["usage"]), LIVE_SHARE)


@pytest.mark.django_db(transaction=True)
async def test_two_presses_are_one_turn(cast: Cast, sign_in) -> None:
    conversation = await Conversation.objects.acreate(workspace=cast.workspace, title="Rivers")
    client = await sign_in(cast.bob)
    responses = [await client.post(address(conversation), FORM) for _ in range(2)]
    assert [response.status_code for response in responses] == [302, 302]
    assert await conversation.turns.acount() == 1


@pytest.mark.django_db(transaction=True)
async def test_in_the_page_only_what_is_new_comes(cast: Cast, sign_in) -> None:
    conversation = await Conversation.objects.acreate(workspace=cast.workspace, title="Rivers")
    client = await sign_in(cast.bob)
    response = await client.post(address(conversation), FORM, headers={"hx-request": "true"})
    body = response.content.decode()
    assert 'hx-swap-oob="beforeend:#turns"' in body
    assert "data-live" in body
    # An empty composer with a token of its own.
    assert "press-1" not in body


def seen_in(body: str) -> str:
    return body.partition('id="seen" name="seen" value="')[2].partition('"')[0]


def test_a_page_without_news_is_told_so(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    ended(conversation)
    client = cast.client(cast.vera)
    seen = seen_in(client.get(address(conversation)).content.decode())
    assert client.get(address(conversation, "live/"), {"seen": seen}).status_code == 204
    other = ended(conversation, "And now?")
    body = client.get(address(conversation, "live/"), {"seen": seen}).content.decode()
    assert "And now?" in body
    # The one before is drawn anew, without what only the last one offers.
    assert body.count("<article") == 2
    seen = seen_in(body)
    Turn.objects.filter(pk=other.pk).update(replaced_at=database_now())
    body = client.get(address(conversation, "live/"), {"seen": seen}).content.decode()
    assert "Earlier attempt" in body


def test_an_answer_whose_server_is_gone_is_interrupted(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    turn = make_turn(conversation)
    Turn.objects.filter(pk=turn.pk).update(lease_until=database_now())
    said = page_of(cast, conversation)
    assert "Interrupted before the first word: the server that wrote it stopped." in said
    assert not interrupt_abandoned(turn, database_now())


def test_of_a_long_conversation_the_newest_turns_are_shown(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    for number in range(45):
        ended(conversation, f"Prompt {number}.")
    said = page_of(cast, conversation)
    assert "Prompt 44." in said
    assert "Prompt 4." not in said
    earlier = page_of(cast, conversation, query="?before=6")
    assert "Prompt 4." in earlier
    assert "Prompt 5." not in earlier
    for odd in ("x", "²", "99999999999999999999"):
        assert "Rivers" in page_of(cast, conversation, query=f"?before={odd}")


def test_the_way_back_leads_to_the_row(cast: Cast, key: str) -> None:
    conversation = begin(cast, origin="/w/acme/batches/41/recipe/?row=1207")
    assert "Row 1,207 of #41 Back to the recipe" in page_of(cast, conversation)
    assert "Back to the recipe" not in page_of(cast, begin(cast, origin="/nowhere/"))


def test_an_answer_says_what_it_cost(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    ended(conversation, cost=Decimal("0.00091200"))
    assert (
        "nothing is billed; with a real key about $0.00091"
        in cast.client(cast.bob).get(address(conversation)).content.decode()
    )
    live = cast.workspace.live_key()
    assert live is not None
    type(live).objects.filter(pk=live.pk).update(api="claude")
    assert "412 in, 214 out · $0.00091 · first token" in page_of(cast, conversation)
