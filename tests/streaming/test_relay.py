import asyncio
import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from asgiref.sync import sync_to_async

from claude_api import AsyncClient, Event
from streaming import asking, relay
from streaming.hubs import MOST_WAITING, Hub, Sent
from streaming.models import Frame, Turn
from streaming.storing import interrupt_abandoned, store_frames
from streaming.windows import encode_frame
from tests.streaming.turns import (
    HELLO,
    PARAMETERS,
    ask_whole,
    make_conversation,
    make_turn,
    now,
    set_pace,
    text_in,
    watch,
)

TRANSCRIPTS = Path(__file__).parent / "transcripts"
pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def reach_the_sandbox(settings, sandbox, monkeypatch):
    settings.SANDBOX_URL = sandbox.url
    monkeypatch.setattr(relay, "FRAMES_LAST", 0.0)


def begin(scope: str, **fields) -> tuple[Turn, dict]:
    turn = make_turn(make_conversation(scope), **fields)
    return turn, asking.request_of(turn)


def scripted(*replies: httpx.Response | Exception) -> Callable[[], AsyncClient]:
    """Clients that are answered with these, one after the other."""
    left = list(replies)

    def answer(request: httpx.Request) -> httpx.Response:
        reply = left.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    transport = httpx.MockTransport(answer)
    return lambda: AsyncClient("http://api.test", "sk-ant-key", transport=transport)


def stream_of(*names: str, cut: int | None = None) -> httpx.Response:
    content = b"".join((TRANSCRIPTS / f"{name}.txt").read_bytes() for name in names)[:cut]
    return httpx.Response(200, content=content, headers={"content-type": "text/event-stream"})


def refusal(status: int, kind: str, message: str, **headers: str) -> httpx.Response:
    error = {"type": "error", "error": {"type": kind, "message": message}}
    return httpx.Response(status, json=error, headers=headers)


async def write(turn: Turn, make_client: Callable[[], AsyncClient]) -> tuple[Turn, list[dict]]:
    relay.start(turn, {**PARAMETERS, "messages": HELLO}, make_client)
    frames = await watch(turn)
    return await finished(turn), frames


async def until(is_true: Callable[[], bool]) -> None:
    for _ in range(500):
        if is_true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("waited for 10 s")


async def finished(turn: Turn) -> Turn:
    await until(lambda: not relay._tasks)
    return await Turn.objects.aget(pk=turn.pk)


async def test_an_answer_is_told_frame_by_frame_and_kept_whole(scope, sandbox):
    set_pace(sandbox, scope, 100)
    turn, request = await sync_to_async(begin)(scope)
    key = await sync_to_async(asking.usable_key)(turn.conversation.workspace)
    relay.start(turn, request, lambda: asking.client_of(key))
    frames = await watch(turn)
    text = ask_whole(sandbox, scope, request)["content"][0]["text"]
    assert text_in(frames) == text
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    assert len(frames) > 5
    end = frames[-1]["end"]
    assert end["state"] == "done"
    assert end["length"] == len(text)
    assert end["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    turn = await finished(turn)
    assert turn.state == Turn.State.DONE
    assert turn.content == [{"type": "text", "text": text}]
    assert turn.usage["output_tokens"] > 0
    assert turn.asked_at < turn.first_token_at < turn.ended_at
    assert not await Frame.objects.aexists()


async def test_all_who_watch_are_told_the_same(scope, sandbox):
    set_pace(sandbox, scope, 200)
    turn, request = await sync_to_async(begin)(scope)
    key = await sync_to_async(asking.usable_key)(turn.conversation.workspace)
    relay.start(turn, request, lambda: asking.client_of(key))
    first, second = await asyncio.gather(watch(turn), watch(turn))
    assert first == second


async def test_a_stop_ends_it_at_once_and_keeps_what_came(scope, sandbox):
    set_pace(sandbox, scope, 20)
    turn, request = await sync_to_async(begin)(scope)
    key = await sync_to_async(asking.usable_key)(turn.conversation.workspace)
    writing = relay.start(turn, request, lambda: asking.client_of(key))
    watching = asyncio.ensure_future(watch(turn))
    await until(lambda: writing.seq > 4)
    assert await sync_to_async(asking.request_stop)(turn, now())
    frames = await watching
    turn = await finished(turn)
    assert (turn.state, turn.reason) == (Turn.State.STOPPED, "")
    assert turn.content[0]["text"] == text_in(frames) != ""
    assert frames[-1]["end"]["state"] == "stopped"


async def test_a_stream_that_ends_without_its_last_event_is_interrupted(scope):
    turn, _ = await sync_to_async(begin)(scope)
    whole = (TRANSCRIPTS / "text.txt").read_bytes()
    turn, frames = await write(
        turn, scripted(stream_of("text", cut=whole.index(b"event: message_delta")))
    )
    assert turn.state == Turn.State.INTERRUPTED
    length = len(text_in(frames).encode("utf-16-le")) // 2
    assert turn.reason == f"Interrupted after {length} characters: the connection to Claude broke."


async def test_an_error_in_mid_stream_is_told_in_the_words_of_the_api(scope):
    turn, _ = await sync_to_async(begin)(scope)
    turn, frames = await write(turn, scripted(stream_of("error")))
    assert turn.state == Turn.State.FAILED
    assert turn.reason == "The API broke the answer off: Overloaded"
    assert turn.error_type == "overloaded_error"
    assert turn.content
    assert text_in(frames) == turn.content[0]["text"]


async def test_a_busy_api_is_asked_again_after_the_time_that_it_says(scope):
    turn, _ = await sync_to_async(begin)(scope)
    busy = refusal(429, "rate_limit_error", "Too many requests", **{"retry-after": "0.1"})
    turn, frames = await write(turn, scripted(busy, stream_of("text")))
    assert turn.state == Turn.State.DONE
    waiting = frames[0]["events"][0]
    assert (waiting["type"], waiting["seconds"]) == ("sluice_wait", 0.1)
    assert "Too many requests" in waiting["reason"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (401, "authentication_error"), (404, "not_found_error")],
)
async def test_a_refusal_is_final(scope, status, kind):
    turn, _ = await sync_to_async(begin)(scope)
    turn, frames = await write(turn, scripted(refusal(status, kind, "max_tokens: too many")))
    assert (turn.state, turn.error_type) == (Turn.State.FAILED, kind)
    assert "max_tokens: too many" in turn.reason
    assert len(frames) == 1


async def test_an_event_that_does_not_fit_interrupts(scope):
    turn, _ = await sync_to_async(begin)(scope)
    events = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    reply = httpx.Response(200, content=events, headers={"content-type": "text/event-stream"})
    turn, _ = await write(turn, scripted(reply))
    assert turn.state == Turn.State.INTERRUPTED
    assert "begins with message_stop" in turn.reason


async def test_a_turn_that_was_taken_over_is_written_no_more(scope, sandbox):
    set_pace(sandbox, scope, 20)
    turn, request = await sync_to_async(begin)(scope)
    key = await sync_to_async(asking.usable_key)(turn.conversation.workspace)
    writing = relay.start(turn, request, lambda: asking.client_of(key))
    await until(lambda: writing.has_begun)
    taken = {"fence": 7, "state": "interrupted", "reason": "Interrupted.", "ended_at": now()}
    await Turn.objects.filter(pk=turn.pk).aupdate(**taken)
    turn = await finished(turn)
    assert (turn.state, turn.reason, turn.answer) == ("interrupted", "Interrupted.", {})


async def test_what_a_dead_server_left_is_interrupted_with_its_text(scope):
    turn, _ = await sync_to_async(begin)(scope)
    await sync_to_async(store_something)(turn)
    soon, later = now(), now() + timedelta(seconds=25)
    assert not await sync_to_async(interrupt_abandoned)(turn, soon)
    assert await sync_to_async(interrupt_abandoned)(turn, later)
    assert turn.state == Turn.State.INTERRUPTED
    assert turn.content == [{"type": "text", "text": "Grüße 🌊"}]
    assert turn.reason == ("Interrupted after 8 characters: the server that wrote it stopped.")
    assert not await Frame.objects.aexists()


def store_something(turn: Turn) -> None:
    start = {"type": "message_start", "message": {"id": "m", "content": []}}
    block = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    }
    grown = {"type": "text_delta", "text": "Grüße 🌊"}
    delta = {"type": "content_block_delta", "index": 0, "delta": grown}
    events = [Event(data["type"], data, b"") for data in (start, block, delta)]
    store_frames({turn.pk: turn.fence}, [(turn.pk, Sent(1, encode_frame(1, 0, 5, events)))])


async def test_a_viewer_who_does_not_keep_up_is_sent_to_what_is_stored():
    hub = Hub(1)
    slow, quick = hub.join(), hub.join()
    taken = []
    for seq in range(1, MOST_WAITING + 10):
        hub.tell(Sent(seq, "{}"))
        taken += await quick.take()
    assert [frame.seq for frame in taken] == list(range(1, MOST_WAITING + 10))
    assert slow.behind
    assert not quick.behind
    assert len(await slow.take()) < 20


@pytest.mark.logs_errors
async def test_a_relay_that_breaks_keeps_no_turn(scope):
    turn, request = await sync_to_async(begin)(scope)

    def make_client() -> AsyncClient:
        raise RuntimeError("a surprise")

    writing = relay.start(turn, request, make_client)
    viewer = writing.join()
    assert await viewer.take() == []
    assert viewer.behind
    assert turn.pk not in relay.relays
    # Its lease runs out, and whoever looks says that it was interrupted.
    ended = await sync_to_async(interrupt_abandoned)(turn, now() + timedelta(seconds=21))
    assert ended
