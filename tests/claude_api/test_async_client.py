import asyncio
import json

import httpx
import pytest

from claude_api import (
    AsyncClient,
    Event,
    KeyRefused,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Redirected,
    ServerError,
)

KEY = "sk-ant-canary-7f3b"
STREAM = {"content-type": "text/event-stream; charset=utf-8"}
START = b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1"}}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"  }\n\n'


def make_client(reply, **options) -> AsyncClient:
    handler = reply if callable(reply) else lambda request: reply
    return AsyncClient("http://api.test", KEY, transport=httpx.MockTransport(handler), **options)


async def read(content: bytes) -> list[Event]:
    reply = httpx.Response(200, content=content, headers=STREAM)
    async with make_client(reply) as client, client.stream_message({}) as events:
        return [event async for event in events]


async def error_of(reply) -> Exception:
    async with make_client(reply) as client:
        with pytest.raises(Exception, match=r"\w") as caught:
            await client.stream_message({}).__aenter__()
    return caught.value


async def test_it_works():
    events = await read(START + b'event: ping\ndata: {"type": "ping"}\n\n' + STOP)
    assert [event.type for event in events] == ["message_start", "ping", "message_stop"]
    assert events[0].data["message"] == {"id": "msg_1"}
    assert events[2].raw == b'{"type":"message_stop"  }'


@pytest.mark.parametrize(
    "params", [{"model": "m", "stream": False, "x": 1.5}, b'{"model": "m", "x": 1.50}']
)
async def test_the_request_is_streamed_and_its_values_carried_over(params):
    requests = []

    def reply(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, content=STOP, headers=STREAM)

    async with make_client(reply) as client, client.stream_message(params) as events:
        assert len([event async for event in events]) == 1
    assert json.loads(requests[0].content) == {"model": "m", "stream": True, "x": 1.5}
    assert requests[0].url == "http://api.test/v1/messages"
    assert requests[0].headers["x-api-key"] == KEY
    if isinstance(params, bytes):
        assert b"1.50" in requests[0].content


async def test_an_unknown_event_keeps_its_raw_data():
    events = await read(b"event: later\ndata: not json\n\nevent: x\ndata: [1]\n\n" + STOP)
    assert events[:2] == [Event("later", {}, b"not json"), Event("x", {}, b"[1]")]


async def test_an_event_without_a_name_is_that_of_its_data():
    events = await read(b'data: {"type":"ping"}\n\n' + STOP)
    assert events[0].type == "ping"


async def test_an_error_event_is_given_like_any_other():
    error = {"type": "overloaded_error", "message": "Overloaded"}
    line = json.dumps({"type": "error", "error": error}).encode()
    events = await read(START + b"event: error\ndata: " + line + b"\n\n")
    assert (events[-1].type, events[-1].data["error"]) == ("error", error)


async def test_a_stream_that_just_ends_is_seen_to_have_no_end():
    events = await read(START + b"event: message_stop\ndata: {}\n")
    assert [event.type for event in events] == ["message_start"]


async def test_an_event_the_answer_needs_must_be_readable():
    with pytest.raises(OutcomeUnknown, match="content_block_delta"):
        await read(START + b'event: content_block_delta\ndata: {"type"\n\n')


@pytest.mark.parametrize("mark", [rb"\u0000", rb"\ud800", b"\xff"])
async def test_text_is_clean(mark):
    events = await read(b'event: x\ndata: {"type":"x","text":"a' + mark + b'b"}\n\n')
    assert events[0].data["text"] == "a\ufffdb"


@pytest.mark.parametrize(
    ("status", "type", "expected"),
    [
        (401, "authentication_error", KeyRefused),
        (429, "rate_limit_error", RateLimited),
        (529, "overloaded_error", ServerError),
    ],
)
async def test_a_refusal_raises_on_entry(status, type, expected):
    body = {"type": "error", "error": {"type": type, "message": f"{KEY} no"}}
    headers = {"retry-after": "7", "request-id": "req_1"}
    error = await error_of(httpx.Response(status, json=body, headers=headers))
    assert (error.__class__, error.retry_after, error.request_id) == (expected, 7.0, "req_1")
    assert KEY not in str(error)


async def test_a_redirect_is_not_followed():
    reply = httpx.Response(307, headers={"location": "https://elsewhere.test/"})
    assert isinstance(await error_of(reply), Redirected)


async def test_a_page_is_no_stream():
    error = await error_of(httpx.Response(200, html="<p>Sign in</p>"))
    assert isinstance(error, OutcomeUnknown)
    assert "text/html" in str(error)


async def test_last_holds_what_the_headers_said():
    headers = STREAM | {"request-id": "req_9", "anthropic-workspace-id": "wrkspc_1"}
    reply = httpx.Response(200, content=STOP, headers=headers)
    async with make_client(reply) as client, client.stream_message({}):
        assert (client.last.request_id, client.last.workspace_id) == ("req_9", "wrkspc_1")
    assert KEY not in repr(client)


class Wire:
    """A server of one connection that answers with a stream head, then as `behave` says."""

    def __init__(self, behave) -> None:
        self._behave = behave
        self._served = False
        self.gone = asyncio.Event()

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *exception) -> None:
        self._server.close()
        await self._server.wait_closed()
        if self._served:
            await asyncio.wait_for(self.gone.wait(), 5)

    async def _serve(self, reader, writer) -> None:
        self._served = True
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
        writer.write(b"transfer-encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%b\r\n" % (len(START), START))
        await self._behave(reader, writer)
        writer.close()
        await writer.wait_closed()
        self.gone.set()


async def follow(url: str, **options) -> list[str]:
    types = []
    async with AsyncClient(url, KEY, **options) as client, client.stream_message({}) as events:
        async for event in events:
            types.append(event.type)
    return types


async def wait_for_the_other_side(reader, writer) -> None:
    await reader.read()


async def hang_up(reader, writer) -> None:
    pass


async def test_silence_is_given_up():
    async with Wire(wait_for_the_other_side) as url:
        with pytest.raises(OutcomeUnknown, match="no byte came within the time limit") as caught:
            await follow(url, read_timeout=0.2)
    assert caught.value.answered


async def test_a_broken_connection_is_unknown():
    async with Wire(hang_up) as url:
        with pytest.raises(OutcomeUnknown, match="broke before its end"):
            await follow(url)


async def test_nobody_there_is_not_sent():
    async with Wire(hang_up) as url:
        pass
    with pytest.raises(NotSent):
        await follow(url)


@pytest.mark.parametrize("way", ["break", "raise", "cancel"])
async def test_leaving_closes_the_connection(way):
    wire = Wire(wait_for_the_other_side)
    async with wire as url, AsyncClient(url, KEY) as client:
        leaving = asyncio.ensure_future(leave(client, way))
        await asyncio.wait([leaving])
        await asyncio.wait_for(wire.gone.wait(), 5)
        assert leaving.cancelled() == (way == "cancel")
        if way == "raise":
            assert isinstance(leaving.exception(), KeyError)


async def leave(client: AsyncClient, way: str) -> None:
    async with client.stream_message({}) as events:
        async for _ in events:
            if way == "raise":
                raise KeyError(way)
            if way == "break":
                return
            asyncio.current_task().cancel()
