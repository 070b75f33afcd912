import asyncio
import hashlib
import json
import random

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.sessions.models import Session

from config.asgi import application
from streaming import asking, consumers, relay
from streaming.hubs import hubs
from streaming.models import Turn
from tests.cast import Cast
from tests.streaming.turns import make_turn, now, set_pace, text_in
from tests.walk import session_cookie
from workspaces.keys import save_key
from workspaces.models import Membership

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def turn(cast: Cast, settings, sandbox, scope, monkeypatch) -> Turn:
    monkeypatch.setattr(relay, "FRAMES_LAST", 0.0)
    settings.SANDBOX_URL = sandbox.url
    save_key(cast.workspace, "sandbox", scope)
    set_pace(sandbox, scope, 100)
    return make_turn(asking.begin(cast.workspace, "Rivers", now(), actor=cast.bob))


async def begin(turn: Turn) -> relay.Relay:
    request = await sync_to_async(asking.request_of)(turn)
    key = await sync_to_async(asking.usable_key)(turn.conversation.workspace)
    return relay.start(turn, request, lambda: asking.client_of(key))


async def connect(turn: Turn, user, query: str = "", slug: str = "acme") -> tuple:
    headers = [(b"origin", b"http://localhost"), (b"host", b"localhost")]
    if user is not None:
        headers.append((b"cookie", await session_cookie(user)))
    place = f"/w/{slug}/conversations/{turn.conversation_id}/turns/{turn.pk}/live/{query}"
    socket = WebsocketCommunicator(application, place, headers=headers)
    return socket, *(await socket.connect())


async def read(socket: WebsocketCommunicator, until: int | None = None) -> list[dict]:
    """Frames to the end, or to the number `until`."""
    frames = []
    while not frames or not ("end" in frames[-1] or frames[-1]["seq"] == until):
        frames.append(json.loads(await socket.receive_from(timeout=20)))
    return frames


async def closed_with(socket: WebsocketCommunicator) -> int:
    while (message := await socket.receive_output(timeout=5))["type"] != "websocket.close":
        pass
    return message.get("code", 1000)


async def quiet() -> None:
    while relay._tasks:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def test_a_viewer_gets_every_frame_and_the_end(turn, cast):
    await begin(turn)
    socket, accepted, _ = await connect(turn, cast.vera)
    assert accepted
    frames = await read(socket)
    assert await closed_with(socket) == 1000
    await turn.arefresh_from_db()
    text = text_in(frames)
    assert text == turn.content[0]["text"]
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    assert frames[-1]["end"]["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    await quiet()


async def test_who_comes_again_and_again_misses_nothing_and_gets_nothing_twice(
    turn, cast, monkeypatch
):
    monkeypatch.setattr(relay, "FRAMES_LAST", 2.0)
    await begin(turn)
    randomly, frames = random.Random(7), []
    while not frames or "end" not in frames[-1]:
        after = frames[-1]["seq"] if frames else 0
        socket, accepted, _ = await connect(turn, cast.vera, f"?after={after}")
        assert accepted
        frames += await read(socket, until=after + randomly.randint(1, 3))
        await socket.disconnect()
        await asyncio.sleep(randomly.random() / 10)
    await turn.arefresh_from_db()
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    assert text_in(frames) == turn.content[0]["text"]
    at = 0
    for frame in frames:
        assert frame["at"] == at
        at += len(text_in([frame]))
    await quiet()


async def test_a_turn_that_ended_says_how(turn, cast):
    await begin(turn)
    socket, *_ = await connect(turn, cast.vera)
    await read(socket)
    await quiet()
    socket, accepted, _ = await connect(turn, cast.vera)
    assert accepted
    frames = await read(socket)
    assert frames[-1]["end"]["state"] == "done"
    assert await closed_with(socket) == 1000


async def test_another_process_follows_what_is_stored(turn, cast, monkeypatch):
    monkeypatch.setattr(relay, "FRAMES_LAST", 1.0)
    await begin(turn)
    # As if the relay was another process's: all that this one knows is the database.
    socket, *_ = await connect(turn, cast.vera)
    del hubs[turn.pk]
    second, *_ = await connect(turn, cast.bob)
    frames, followed = await asyncio.gather(read(socket), read(second))
    assert text_in(followed) == text_in(frames)
    assert followed[-1] == frames[-1]
    await quiet()


@pytest.mark.parametrize(("name", "code"), [("charlie", 4404), ("rita", 4404), (None, 4404)])
async def test_strangers_are_not_let_in(turn, cast, name, code):
    _, accepted, closed = await connect(turn, getattr(cast, name or "", None))
    assert (accepted, closed) == (False, code)


async def test_a_turn_of_another_workspace_is_not_there(turn, cast):
    _, accepted, code = await connect(turn, cast.charlie, slug="other")
    assert (accepted, code) == (False, 4404)


@pytest.mark.parametrize("after", ["x", "-1", "²"])
async def test_a_position_that_is_none_is_refused(turn, cast, after):
    _, accepted, code = await connect(turn, cast.vera, f"?after={after}")
    assert (accepted, code) == (False, 4400)


async def test_whoever_is_removed_is_out_at_the_next_check(turn, cast, monkeypatch, sandbox, scope):
    monkeypatch.setattr(consumers, "CHECK_EVERY", 0.1)
    await sync_to_async(set_pace)(sandbox, scope, 10)
    writing = await begin(turn)
    socket, accepted, _ = await connect(turn, cast.vera)
    assert accepted
    await Membership.objects.filter(user=cast.vera).adelete()
    assert await closed_with(socket) == 4404
    writing.stop()
    await quiet()


async def test_a_session_that_was_signed_out_is_out(turn, cast, monkeypatch, sandbox, scope):
    monkeypatch.setattr(consumers, "CHECK_EVERY", 0.1)
    await sync_to_async(set_pace)(sandbox, scope, 10)
    writing = await begin(turn)
    socket, accepted, _ = await connect(turn, cast.vera)
    assert accepted
    await Session.objects.all().adelete()
    assert await closed_with(socket) == 4404
    writing.stop()
    await quiet()


async def test_who_was_there_before_the_first_word_is_told_at_once(turn, cast):
    socket, accepted, _ = await connect(turn, cast.vera)
    assert accepted
    await asyncio.sleep(0.1)
    assert not isinstance(hubs[turn.pk], relay.Relay)
    writing = await begin(turn)
    frames = await read(socket)
    assert hubs.get(turn.pk) is not writing
    await turn.arefresh_from_db()
    assert text_in(frames) == turn.content[0]["text"]
    await quiet()


async def test_a_turn_that_is_gone_ends(turn, cast):
    writing = await begin(turn)
    socket, *_ = await connect(turn, cast.vera)
    del hubs[turn.pk]
    second, *_ = await connect(turn, cast.bob)
    await asyncio.sleep(0.2)
    await Turn.objects.filter(pk=turn.pk).adelete()
    frames = await read(second)
    assert frames[-1]["end"]["state"] == "gone"
    writing.lose()
    for follower in (socket, second):
        await follower.disconnect()


async def test_a_word_from_the_browser_is_a_check(turn, cast, sandbox, scope):
    await sync_to_async(set_pace)(sandbox, scope, 10)
    writing = await begin(turn)
    socket, *_ = await connect(turn, cast.vera)
    await Membership.objects.filter(user=cast.vera).adelete()
    await socket.send_to(text_data="?")
    assert await closed_with(socket) == 4404
    writing.stop()
    await quiet()
