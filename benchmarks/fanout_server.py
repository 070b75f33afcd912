"""The web server with one live answer and many viewers: ours, or group_send in its place.

    python -m benchmarks.fanout_server hub|group SSE_URL     prints where it listens

`GET /start?streams=N&deltas=N&pace=N` begins N answers; `/live/<number>` is the socket of one.
Both sides run in the same server, read the same upstream with the same client, and use the same
window of 30 ms. Ours stores its frames as well.
"""

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

DIRECTORY = Path(tempfile.mkdtemp(prefix="sluice-bench-"))
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "config.settings",
    "SLUICE_DATA_DIR": str(DIRECTORY),
    "DATABASE_URL": f"sqlite:///{DIRECTORY / 'bench.sqlite3'}",
    "DEBUG": "false",
    "REDIS_URL": "",
}

import django  # noqa: E402

django.setup()

from asgiref.sync import sync_to_async  # noqa: E402
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from django.core.management import call_command  # noqa: E402

from claude_api import AsyncClient  # noqa: E402
from leases.clock import database_now  # noqa: E402
from serving.fitting import fitting_server  # noqa: E402
from streaming import asking, consumers, relay  # noqa: E402
from streaming.models import Turn  # noqa: E402
from streaming.windows import Transcript, Window, encode_frame  # noqa: E402
from workspaces.models import Workspace  # noqa: E402

kind, upstream = sys.argv[1:]
turns: dict[int, Turn] = {}


def request_for(deltas: int, pace: float) -> dict[str, Any]:
    return {
        "model": "claude-haiku-4-5",
        "max_tokens": deltas,
        "metadata": {"user_id": str(pace)},
        "messages": [{"role": "user", "content": "hi"}],
    }


def make_turn(number: int) -> Turn:
    workspace, _ = Workspace.objects.get_or_create(slug="bench", defaults={"name": "Bench"})
    at = database_now()
    conversation = asking.begin(workspace, f"stream {number}", at, actor=None)
    return asking.ask(conversation, [], {}, at, token="one")[0]


class Live(consumers.Live):
    async def connect(self) -> None:
        self.turn_id = turns[int(self.scope["path"].rpartition("/")[2])].pk
        await self.accept()
        self.pumping = relay.keep_running(self.pump(0))

    async def may_watch(self) -> bool:
        return True


class Member(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        self.group = "stream-" + self.scope["path"].rpartition("/")[2]
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def frame(self, message: dict[str, Any]) -> None:
        await self.send(message["text"])


async def send_to_group(number: int, request: dict[str, Any]) -> None:
    window, transcript, layer, seq = Window(), Transcript(), get_channel_layer(), 0
    ended = asyncio.Event()

    async def flush() -> None:
        nonlocal seq
        while not ended.is_set() or window:
            await asyncio.sleep(relay.WINDOW)
            if events := window.take():
                seq, at = seq + 1, transcript.length
                for event in events:
                    transcript.add(event)
                text = encode_frame(seq, at, 0, events)
                await layer.group_send(f"stream-{number}", {"type": "frame", "text": text})

    flushing = asyncio.create_task(flush())
    async with (
        AsyncClient(upstream, "sk-ant-bench") as client,
        client.stream_message(request) as events,
    ):
        async for event in events:
            window.add(event)
    ended.set()
    await flushing
    end = {"type": "frame", "text": '{"seq":0,"end":{}}'}
    await layer.group_send(f"stream-{number}", end)


async def prepare(count: int) -> None:
    for number in range(count):
        turns[number] = await sync_to_async(make_turn)(number)


async def begin(request: dict[str, Any]) -> None:
    for number, turn in turns.items():
        if kind == "hub":
            relay.start(turn, request, lambda: AsyncClient(upstream, "sk-ant-bench"))
        else:
            relay.keep_running(send_to_group(number, request))


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        consumer: Any = Live if kind == "hub" else Member
        await consumer.as_asgi()(scope, receive, send)
        return
    query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
    if scope["path"] == "/prepare":
        await prepare(int(query["streams"]))
    else:
        await begin(request_for(int(query["deltas"]), float(query["pace"])))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    fitting_server()(
        application=application, endpoints=["tcp:0:interface=127.0.0.1"], server_name=""
    ).run()
