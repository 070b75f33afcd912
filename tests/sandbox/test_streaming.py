import asyncio
import json
import time

import httpx
import pytest

from tests.sandbox.api import Api, body, events, text_of

TOOL = {
    "name": "note",
    "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}},
}


def test_it_works(api: Api) -> None:
    streamed = api.stream("Tell me a story about 海 and the harbour")
    types = [event["type"] for event in streamed]
    assert types[:3] == ["message_start", "content_block_start", "ping"]
    assert types[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert types.count("ping") > 2
    text = "".join(
        event["delta"]["text"] for event in streamed if event["type"] == "content_block_delta"
    )
    assert text == text_of(api.ask("Tell me a story about 海 and the harbour"))


def test_usage_is_cumulative(api: Api) -> None:
    system = [{"type": "text", "text": "word " * 9_000, "cache_control": {"type": "ephemeral"}}]
    streamed = api.stream(system=system)
    start, end = streamed[0]["message"]["usage"], streamed[-2]["usage"]
    assert start["output_tokens"] == 1
    assert end["output_tokens"] > 1
    assert end["cache_creation_input_tokens"] == start["cache_creation_input_tokens"] > 9_000
    assert end["input_tokens"] == start["input_tokens"]


def test_thinking_ends_with_its_signature(api: Api) -> None:
    streamed = api.stream(model="claude-opus-4-6", thinking={"type": "adaptive"})
    kinds = [
        event["delta"]["type"]
        for event in streamed
        if event["type"] == "content_block_delta" and event["index"] == 0
    ]
    assert len(kinds) > 1
    assert set(kinds[:-1]) == {"thinking_delta"}
    assert kinds[-1] == "signature_delta"


def test_omitted_thinking_is_a_signature_alone(api: Api) -> None:
    thinking = {"type": "adaptive", "display": "omitted"}
    streamed = api.stream(model="claude-opus-4-6", thinking=thinking)
    deltas = [event["delta"] for event in streamed if event.get("index") == 0 and "delta" in event]
    assert [delta["type"] for delta in deltas] == ["signature_delta"]


def test_the_input_of_a_tool_comes_in_pieces(api: Api) -> None:
    streamed = api.stream("Take a note of the harbour at dawn", tools=[TOOL])
    opened = next(event for event in streamed if event["type"] == "content_block_start")
    pieces = [
        event["delta"]["partial_json"]
        for event in streamed
        if event["type"] == "content_block_delta"
    ]
    assert opened["content_block"]["input"] == {}
    assert pieces[0] == ""
    asked = api.ask("Take a note of the harbour at dawn", tools=[TOOL])
    assert json.loads("".join(pieces)) == asked["content"][0]["input"]
    assert streamed[-2]["delta"]["stop_reason"] == "tool_use"


def test_the_wire(api: Api) -> None:
    with api.http.stream("POST", "/v1/messages", json=body(stream=True)) as reply:
        assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert reply.headers["cache-control"] == "no-cache"
        assert reply.headers["request-id"]
        assert b"".join(reply.iter_raw()).startswith(b"event: message_start\ndata: {")


def test_the_pace(api: Api) -> None:
    api.set(token_rate=200)
    started = time.monotonic()
    streamed = api.stream(max_tokens=40)
    assert streamed[-2]["usage"]["output_tokens"] == 40
    assert 0.19 <= time.monotonic() - started < 0.3


def test_omitted_thinking_takes_its_time(api: Api) -> None:
    api.set(token_rate=200)
    started = time.monotonic()
    thinking = {"type": "adaptive", "display": "omitted"}
    usage = api.stream(model="claude-opus-4-6", thinking=thinking, max_tokens=80)[-2]["usage"]
    assert usage["output_tokens_details"]["thinking_tokens"] > 20
    assert time.monotonic() - started >= usage["output_tokens"] / 200 - 0.02


def test_bad_input_is_refused_before_the_stream(api: Api) -> None:
    reply = api.post("/v1/messages", json=body(model="gpt-4", stream=True))
    assert reply.status_code == 404
    assert reply.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("streams", [50])
async def test_many_streams_at_once(api: Api, streams: int) -> None:
    api.set(token_rate=400)
    base, headers = api.http.base_url, api.http.headers
    async with httpx.AsyncClient(
        base_url=base, headers=headers, timeout=60, trust_env=False
    ) as client:
        sent = [
            client.post("/v1/messages", json=body(f"Number {each}", stream=True))
            for each in range(streams)
        ]
        replies = await asyncio.gather(*sent)
    ends = [list(events(reply.content))[-1] for reply in replies]
    assert ends == [{"type": "message_stop"}] * streams
