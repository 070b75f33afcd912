import pytest

from streaming.history import messages_for, partial_text, prompt_to_go_on, takes_prefill
from streaming.models import Turn

HAIKU = {"model": "claude-haiku-4-5", "max_tokens": 9}
SONNET = {"model": "claude-sonnet-4-6", "max_tokens": 9}


def make(pk: int, question: str = "", *blocks: dict, **fields) -> Turn:
    prompt = [{"role": "user", "content": question}] if question else []
    given = {"prompt": prompt, "parameters": HAIKU, "answer": {"content": list(blocks)}}
    return Turn(pk=pk, number=pk, **(given | fields))


def text(words: str) -> dict:
    return {"type": "text", "text": words}


def roles(messages: list[dict]) -> list[str]:
    return [message["role"] for message in messages]


def test_a_turn_follows_on_what_was_said():
    earlier = [make(1, "Hello", text("Hi."))]
    assert messages_for(make(2, "And then?"), earlier) == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": [text("Hi.")]},
        {"role": "user", "content": "And then?"},
    ]


def test_what_cannot_be_recovered_is_left_out():
    unsigned = {"type": "thinking", "thinking": "hm", "signature": ""}
    signed = {"type": "thinking", "thinking": "hm", "signature": "s"}
    cut = {"type": "tool_use", "id": "t", "name": "look", "input": {}, "partial_json": '{"a'}
    call = {"type": "tool_use", "id": "t", "name": "look", "input": {"a": 1}}
    earlier = [make(1, "Hello", unsigned, signed, text(" "), cut, call)]
    assert messages_for(make(2, "Go"), earlier)[1]["content"] == [signed, call]


def test_an_answer_without_a_word_is_no_message():
    assert roles(messages_for(make(2, "Again"), [make(1, "Hello")])) == ["user", "user"]


def test_what_was_refused_is_not_asked_again():
    refused = make(1, "Too much", state="failed")
    broken = make(2, "Hello", text("Hi"), state="failed")
    messages = messages_for(make(3, "And?"), [refused, broken])
    assert [message["content"] for message in messages] == ["Hello", [text("Hi")], "And?"]


def test_up_to_4_5_the_answer_is_begun_for_the_model():
    broken = make(1, "Hello", text("Rivers are "))
    prompt = prompt_to_go_on(broken, [])
    assert prompt == [{"role": "assistant", "content": "Rivers are"}]
    going_on = make(2, prompt=prompt, continues=broken)
    assert roles(messages_for(going_on, [broken])) == ["user", "assistant"]


def test_later_models_are_quoted_what_came():
    broken = make(1, "Hello", text("Rivers are "), parameters=SONNET)
    (message,) = prompt_to_go_on(broken, [])
    assert message["role"] == "user"
    assert "Rivers are" in message["content"]
    going_on = make(2, prompt=[message], continues=broken, parameters=SONNET)
    assert roles(messages_for(going_on, [broken])) == ["user", "user"]


def test_an_answer_that_broke_twice_is_whole_afterwards():
    first = make(1, "Hello", text("Rivers "))
    second = make(2, "", text("are "), prompt=prompt_to_go_on(first, []), continues=first)
    assert partial_text(second, [first]) == "Rivers are "
    prompt = prompt_to_go_on(second, [first])
    assert prompt[0]["content"] == "Rivers are"
    third = make(3, "", text("long."), prompt=prompt, continues=second)
    assert messages_for(third, [first, second]) == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Rivers are"},
    ]
    later = messages_for(make(4, "Thanks"), [first, second, third])
    assert roles(later) == ["user", "assistant", "assistant", "assistant", "user"]
    said = "".join(block["text"] for message in later[1:4] for block in message["content"])
    assert said == "Rivers are long."


def test_nothing_came_so_nothing_can_be_gone_on_with():
    assert prompt_to_go_on(make(1, "Hello"), []) == []


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("claude-haiku-4-5", True),
        ("claude-haiku-4-5-20251001", True),
        ("claude-3-5-sonnet-20241022", True),
        ("claude-3-haiku-20240307", True),
        ("claude-opus-4-20250514", True),
        ("claude-opus-4-6", False),
        ("claude-sonnet-5", False),
        ("claude-sonnet-4-10", False),
        ("something-else", False),
    ],
)
def test_which_models_take_the_beginning_of_their_answer(model, expected):
    assert takes_prefill({"model": model}) == expected


@pytest.mark.parametrize(
    "parameters",
    [{"thinking": {"type": "enabled"}}, {"output_config": {"format": {"type": "json_schema"}}}],
)
def test_thinking_and_formats_take_none(parameters):
    assert not takes_prefill(HAIKU | parameters)
