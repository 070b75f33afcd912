"""CPU per event of reading a stream: ours against the official SDK. One process for each run.

python -m benchmarks.sse_client URL CLIENT EVENTS     prints microseconds of CPU per event
"""

import asyncio
import sys
import time
from typing import Any

REQUEST: dict[str, Any] = {
    "model": "claude-haiku-4-5",
    "messages": [{"role": "user", "content": "hi"}],
}


async def our_events(url: str, count: int) -> None:
    from claude_api import AsyncClient

    async with (
        AsyncClient(url, "sk-ant-bench") as client,
        client.stream_message({**REQUEST, "max_tokens": count}) as events,
    ):
        async for _ in events:
            pass


async def our_snapshot(url: str, count: int) -> None:
    """As the relay does it: windows of 30 ms, each folded into the snapshot."""
    from claude_api import AsyncClient
    from streaming.snapshot import Snapshot, accumulate
    from streaming.windows import Window

    window, snapshot, flushed = Window(), Snapshot(), time.monotonic()
    async with (
        AsyncClient(url, "sk-ant-bench") as client,
        client.stream_message({**REQUEST, "max_tokens": count}) as events,
    ):
        async for event in events:
            window.add(event)
            if time.monotonic() - flushed > 0.03:
                flushed = time.monotonic()
                for merged in window.take():
                    snapshot = accumulate(snapshot, merged)
    for merged in window.take():
        snapshot = accumulate(snapshot, merged)
    assert snapshot.complete
    assert len(snapshot.text) == count * len(" a few words")


async def sdk_events(url: str, count: int) -> None:
    import anthropic

    async with anthropic.AsyncAnthropic(api_key="sk-ant-bench", base_url=url) as client:
        stream = await client.messages.create(**REQUEST, max_tokens=count, stream=True)
        async for _ in stream:
            pass


async def sdk_stream(url: str, count: int) -> None:
    import anthropic

    async with (
        anthropic.AsyncAnthropic(api_key="sk-ant-bench", base_url=url) as client,
        client.messages.stream(**REQUEST, max_tokens=count) as stream,
    ):
        async for _ in stream:
            pass
        message = await stream.get_final_message()
    assert len(message.content[0].text) == count * len(" a few words")


CLIENTS = {
    "our_events": our_events,
    "our_snapshot": our_snapshot,
    "sdk_events": sdk_events,
    "sdk_stream": sdk_stream,
}


async def measure(url: str, name: str, count: int) -> float:
    read = CLIENTS[name]
    await read(url, 100)  # imports, first connection
    began = time.process_time()
    await read(url, count)
    return (time.process_time() - began) / count * 1e6


if __name__ == "__main__":
    address, client, events = sys.argv[1:]
    print(asyncio.run(measure(address, client, int(events))))
