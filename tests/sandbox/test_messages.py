from typing import Any

import pytest

from tests.sandbox.api import Api, body, error, text_of

SYSTEM = [
    {"type": "text", "text": "word " * 9_000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
]


def test_it_works(api: Api) -> None:
    message = api.ask("Why is the sky blue?")
    assert message["role"] == "assistant"
    assert message["model"] == "claude-haiku-4-5"
    assert message["stop_reason"] == "end_turn"
    assert "sky" in text_of(message) or "blue" in text_of(message)
    assert message["usage"]["service_tier"] == "standard"
    assert message["usage"]["output_tokens"] > 5


def test_the_same_request_gets_the_same_answer(api: Api) -> None:
    first, second = api.ask(), api.ask()
    assert first["content"] == second["content"]
    assert first["id"] != second["id"]


def test_max_tokens_cuts(api: Api) -> None:
    message = api.ask("Tell me a story about a harbour", max_tokens=10)
    assert message["stop_reason"] == "max_tokens"
    assert message["usage"]["output_tokens"] == 10
    assert api.ask(max_tokens=0)["content"] == []


def test_stop_sequences_end_it(api: Api) -> None:
    message = api.ask("Tell me a story", stop_sequences=["zzzz", "e"])
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "e")
    assert "e" not in text_of(message)


def test_the_cache_remembers_for_an_hour(api: Api) -> None:
    first = api.ask(system=SYSTEM)["usage"]
    written = first["cache_creation"]["ephemeral_1h_input_tokens"]
    assert written > 9_000
    assert api.ask("Another", system=SYSTEM)["usage"]["cache_read_input_tokens"] == written
    api.set(clock_offset=3_700)
    assert api.ask(system=SYSTEM)["usage"]["cache_read_input_tokens"] == 0


def test_a_short_prefix_is_not_cached(api: Api) -> None:
    system = [{**SYSTEM[0], "text": "word " * 1_000}]
    usage = api.ask(system=system)["usage"]
    assert usage["cache_creation_input_tokens"] == 0
    assert usage["input_tokens"] > 1_000


def test_a_tool_is_called_and_its_result_answered(api: Api) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [{"name": "get_weather", "description": "weather of a city", "input_schema": schema}]
    called = api.ask("What is the weather in Lisbon?", tools=tools)
    call = called["content"][0]
    assert called["stop_reason"] == "tool_use"
    assert (call["name"], call["input"]) == ("get_weather", {"city": "Lisbon"})
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "18 degrees"}
    messages = [
        *body("What is the weather in Lisbon?")["messages"],
        {"role": "assistant", "content": called["content"]},
        {"role": "user", "content": [result]},
    ]
    answered = api.ask(tools=tools, messages=messages)
    assert answered["stop_reason"] == "end_turn"
    assert "18 degrees" in text_of(answered)


@pytest.mark.parametrize("model", ["claude-opus-4-6", "claude-opus-5-5"])
def test_thinking_comes_first(api: Api, model: str) -> None:
    thinking = {"type": "adaptive", "display": "summarized"}
    message = api.ask(model=model, thinking=thinking)
    block = message["content"][0]
    assert block["type"] == "thinking"
    assert block["thinking"]
    assert block["signature"]
    details = message["usage"]["output_tokens_details"]
    assert 0 < details["thinking_tokens"] < message["usage"]["output_tokens"]
    omitted = api.ask(model=model, thinking={**thinking, "display": "omitted"})
    assert omitted["content"][0]["thinking"] == ""


def test_newer_models_think_unasked(api: Api) -> None:
    kinds = [block["type"] for block in api.ask(model="claude-opus-5")["content"]]
    assert kinds == ["thinking", "text"]
    assert api.ask(model="claude-opus-5")["content"][0]["thinking"] == ""
    disabled = api.ask(model="claude-opus-5", thinking={"type": "disabled"})["content"]
    older = api.ask(model="claude-opus-4-8")["content"]
    assert [block["type"] for block in (*disabled, *older)] == ["text", "text"]


def test_an_answer_that_was_begun_goes_on(api: Api) -> None:
    whole = text_of(api.ask("Describe the harbour"))
    begun = whole[: len(whole) // 2].rstrip()
    turns = [*body("Describe the harbour")["messages"], {"role": "assistant", "content": begun}]
    assert begun + text_of(api.ask(messages=turns)) == whole


def user(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "messages: at least one message is required"),
    ({"messages": "hi"}, "messages: Input should be a valid list"),
    ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
    (
        {"messages": [{"role": "robot", "content": "x"}]},
        "messages.0.role: Input should be 'user', 'assistant' or 'system'",
    ),
    (user([{"type": "text", "text": ""}]), "messages: text content blocks must be non-empty"),
    (user([{"type": "text"}]), "messages.0.content.0.text.text: Field required"),
    ({"max_tokens": "many"}, "max_tokens: Input should be a valid integer"),
    (
        {"max_tokens": 9_999_999},
        "max_tokens: 9999999 > 64000, which is the maximum allowed number of output tokens for "
        "claude-haiku-4-5-20251001",
    ),
    ({"temperature": 1}, "temperature: Extra inputs are not permitted"),
    ({"top_k": 1}, "top_k: Extra inputs are not permitted"),
    ({"colour": "red"}, "colour: Extra inputs are not permitted"),
    ({"thinking": {"type": "adaptive"}}, "adaptive thinking is not supported on this model"),
    (
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        "`max_tokens` must be greater than `thinking.budget_tokens`.",
    ),
    ({"tool_choice": {"type": "any"}}, "tool_choice may only be specified while providing tools."),
    ({"stop_sequences": [" "]}, "stop_sequences: each stop sequence must contain non-whitespace"),
    (
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        "output_config.format.schema: For 'object' type, 'additionalProperties' must be "
        "explicitly set to false",
    ),
    (
        user([{"type": "tool_result", "tool_use_id": "t1"}]),
        "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: t1. Each "
        "`tool_result` block must have a corresponding `tool_use` block in the previous message.",
    ),
]


@pytest.mark.parametrize(("fields", "message"), REFUSALS, ids=[each[1][:30] for each in REFUSALS])
def test_bad_input_is_refused(api: Api, fields: dict[str, Any], message: str) -> None:
    reply = api.post("/v1/messages", json={**body(), **fields})
    assert error(reply) == (400, "invalid_request_error", message)


@pytest.mark.parametrize("name", ["model", "max_tokens", "messages"])
def test_what_is_required(api: Api, name: str) -> None:
    fields = {key: value for key, value in body().items() if key != name}
    assert error(api.post("/v1/messages", json=fields))[2] == f"{name}: Field required"


def test_any_claude_model_is_accepted_and_no_other(api: Api) -> None:
    assert api.ask(model="claude-next-9")["model"] == "claude-next-9"
    reply = api.post("/v1/messages", json=body(model="gpt-4"))
    assert error(reply) == (404, "not_found_error", "model: gpt-4")


def test_newer_models_refuse_a_prefill(api: Api) -> None:
    messages = [*body()["messages"], {"role": "assistant", "content": "Because"}]
    assert api.ask(messages=messages)["content"]
    newer = {**body(model="claude-opus-4-6"), "messages": messages}
    status, _, message = error(api.post("/v1/messages", json=newer))
    assert status == 400
    assert message.startswith("This model does not support assistant message prefill.")


def test_the_older_version_allows_more(api: Api, older_api: Api) -> None:
    cited = {"type": "text", "text": "x", "citations": [{"type": "char_location"}]}
    turns = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [DOCUMENT]},
        {"role": "user", "content": "y"},
    ]
    for fields in ({"temperature": 0.5}, user([cited]), {"messages": turns}):
        content = {**body(), **fields}
        assert older_api.post("/v1/messages", json=content).status_code == 200
        assert api.post("/v1/messages", json=content).status_code == 400
    assert older_api.post("/v1/messages", json=body(temperature=1.5)).status_code == 400


def test_a_prompt_that_is_too_long_is_refused(api: Api) -> None:
    status, _, message = error(api.post("/v1/messages", json=body("word " * 170_000)))
    assert status == 400
    assert message.startswith("prompt is too long: 2")
