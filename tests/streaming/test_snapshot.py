import asyncio
import json
from pathlib import Path

import anthropic
import httpx
import httpx2
import msgspec
import pytest

from claude_api import AsyncClient, Event, UnexpectedEvent
from streaming.snapshot import Snapshot, accumulate

TRANSCRIPTS = Path(__file__).parent / "transcripts"
WHOLE = [
    "citations",
    "refusal",
    "server_tools",
    "text",
    "thinking",
    "thinking_omitted",
    "tool_use",
    "two_deltas",
]
HEADERS = {"content-type": "text/event-stream; charset=utf-8"}
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "usage": {}}


async def read(content: bytes) -> list[Event]:
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, content=content, headers=HEADERS)
    )
    async with (
        AsyncClient("http://api.test", "sk-ant-key", transport=transport) as client,
        client.stream_message({"model": "claude-x"}) as events,
    ):
        return [event async for event in events]


def fold(name: str) -> Snapshot:
    snapshot = Snapshot()
    for event in asyncio.run(read((TRANSCRIPTS / f"{name}.txt").read_bytes())):
        snapshot = accumulate(snapshot, event)
    return snapshot


def ask_sdk(content: bytes) -> dict:
    transport = httpx2.MockTransport(
        lambda request: httpx2.Response(200, content=content, headers=HEADERS)
    )
    with httpx2.Client(transport=transport) as http:
        sdk = anthropic.Anthropic(
            api_key="sk-ant-key", base_url="http://api.test", http_client=http
        )
        request = {"role": "user", "content": "hi"}
        with sdk.messages.stream(model="m", max_tokens=9, messages=[request]) as stream:
            return json.loads(stream.get_final_message().to_json())


def drop_nulls(value):
    if isinstance(value, dict):
        return {name: drop_nulls(item) for name, item in value.items() if item is not None}
    return [drop_nulls(item) for item in value] if isinstance(value, list) else value


def start(**message) -> Snapshot:
    return accumulate(Snapshot(), event("message_start", message=MESSAGE | message))


def event(kind: str, **data) -> Event:
    return Event(kind, {"type": kind, **data})


def test_it_folds_a_text():
    snapshot = fold("text")
    assert snapshot.complete
    assert snapshot.text == "Lisbon is the\u2028capital – 里斯本 🙂."
    assert snapshot.stop_reason == "end_turn"
    assert (snapshot.usage.input_tokens, snapshot.usage.output_tokens) == (25, 12)


@pytest.mark.parametrize("name", WHOLE)
def test_it_agrees_with_the_official_sdk(name):
    content = (TRANSCRIPTS / f"{name}.txt").read_bytes()
    assert drop_nulls(fold(name).message) == drop_nulls(ask_sdk(content))


def test_thinking_stands_apart_from_text():
    snapshot = fold("thinking")
    assert (snapshot.thinking, snapshot.text) == ("Seven times eight is 56.", "56")
    assert snapshot.content[0]["signature"] == "EqQBCkYIBxgCKkD0"
    assert snapshot.usage.thinking_tokens == 22


def test_tool_input_is_parsed_when_its_block_stops():
    snapshot = fold("tool_use")
    assert snapshot.content[1]["input"] == {"city": "Lisboa", "days": 3}
    assert [call.name for call in snapshot.tool_calls] == ["weather", "clock"]
    assert json.loads(snapshot.tool_calls[0].input) == {"city": "Lisboa", "days": 3}
    assert snapshot.tool_calls[1].input == "{}"


def test_tool_input_cut_off_is_kept_as_text():
    snapshot = fold("input_cut_by_max_tokens")
    assert snapshot.complete
    assert snapshot.tool_calls == [("save", '{"text": "once up')]
    assert snapshot.content[0]["input"] == {}


def test_null_usage_leaves_what_was_known():
    usage = fold("server_tools").usage
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (911, 0)
    assert usage.web_search_requests == 1


def test_refusal_keeps_its_details():
    snapshot = fold("refusal")
    assert snapshot.message["stop_details"]["category"] == "cyber"


def test_unknown_events_blocks_and_deltas_are_kept():
    snapshot = fold("unknown")
    assert snapshot.complete
    assert snapshot.unknown == ({"type": "context_note", "note": {"kept": True}},)
    assert snapshot.content[0]["deltas"] == [{"type": "hologram_delta", "beam": "y"}]
    assert (snapshot.text, snapshot.stop_reason) == ("ok", "paused_for_tea")


def test_an_error_event_is_recorded():
    snapshot = fold("error")
    assert snapshot.error == {"details": None, "type": "overloaded_error", "message": "Overloaded"}
    assert (snapshot.complete, snapshot.text) == (False, "Hel")


def test_a_cut_stream_is_not_complete():
    snapshot = fold("cut")
    assert (snapshot.complete, snapshot.error, snapshot.text) == (False, None, "Hel")


@pytest.mark.parametrize("name", sorted(path.stem for path in TRANSCRIPTS.glob("*.txt")))
def test_what_it_was_given_stays_as_it_was(name):
    snapshot = Snapshot()
    for event in asyncio.run(read((TRANSCRIPTS / f"{name}.txt").read_bytes())):
        before = msgspec.json.encode((snapshot, event.data))
        grown = accumulate(snapshot, event)
        assert msgspec.json.encode((snapshot, event.data)) == before
        snapshot = grown


def test_a_snapshot_survives_storing():
    snapshot = fold("tool_use")
    stored = msgspec.json.encode(snapshot)
    assert msgspec.json.decode(stored, type=Snapshot) == snapshot


def test_nul_in_a_tool_input_is_replaced():
    snapshot = start()
    block = {"type": "tool_use", "id": "t", "name": "n", "input": {}}
    snapshot = accumulate(snapshot, event("content_block_start", index=0, content_block=block))
    for part in ('{"a": "x\\u0', '000y"}'):
        delta = {"type": "input_json_delta", "partial_json": part}
        snapshot = accumulate(snapshot, event("content_block_delta", index=0, delta=delta))
    snapshot = accumulate(snapshot, event("content_block_stop", index=0))
    assert snapshot.content[0]["input"] == {"a": "x\ufffdy"}


TEXT = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
DELTA = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "x"})
STOP = event("content_block_stop", index=0)


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ([DELTA], "begins with content_block_delta"),
        ([event("message_start", message=MESSAGE)] * 2, "second message_start"),
        ([event("message_start")], "message_start without message"),
        ([event("message_start", message=MESSAGE), DELTA], "block 0, which is not open"),
        ([event("message_start", message=MESSAGE), TEXT, TEXT], "block 1 is the next"),
        ([event("message_start", message=MESSAGE), TEXT, STOP, DELTA], "block 0, which is not"),
        (
            [event("message_start", message=MESSAGE), TEXT, event("message_stop")],
            "while block 0 is open",
        ),
        ([event("message_start", message=MESSAGE), event("message_stop"), TEXT], "after its end"),
        ([event("message_start", message=MESSAGE), event("error"), TEXT], "after its end"),
    ],
)
def test_an_event_that_does_not_fit_is_refused(events, sentence):
    *fitting, last = events
    snapshot = Snapshot()
    for each in fitting:
        snapshot = accumulate(snapshot, each)
    with pytest.raises(UnexpectedEvent, match=sentence):
        accumulate(snapshot, last)
