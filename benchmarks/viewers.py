"""Many websockets in one process: what each was sent, and how late.

    python -m benchmarks.viewers URL STREAMS VIEWERS DELTAS PACE

Prints JSON: text deltas delivered of those expected, and the added latency of each in
milliseconds, from the moment when the upstream sent it.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator

import aiohttp

Arrival = tuple[int, str]


async def watch(
    session: aiohttp.ClientSession, url: str, ready: asyncio.Semaphore, arrived: list[Arrival]
) -> None:
    """Note when each frame came; it is read later, so that reading delays no other viewer's."""
    async with session.ws_connect(url, max_msg_size=0) as socket:
        ready.release()
        async for message in socket:
            arrived.append((time.monotonic_ns(), message.data))
            if '"end":' in message.data:
                return


def lateness(arrived: list[Arrival]) -> Iterator[float]:
    for at, text in arrived:
        for event in json.loads(text).get("events", []):
            for sent in event.get("delta", {}).get("text", "").split():
                yield (at - int(sent)) / 1e6


async def main(url: str, streams: int, viewers: int, deltas: int, pace: float) -> None:
    arrived: list[Arrival] = []
    ready = asyncio.Semaphore(0)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await session.get(f"{url}/prepare?streams={streams}")
        watching = [
            asyncio.create_task(watch(session, f"{url}/live/{number % streams}", ready, arrived))
            for number in range(viewers)
        ]
        for _ in watching:
            await ready.acquire()
        await asyncio.sleep(0.5)  # the storm of connections is not what is measured
        print("begin", flush=True)
        await session.get(f"{url}/start?deltas={deltas}&pace={pace}")
        await asyncio.wait(watching, timeout=deltas / pace + 15)
    late = sorted(lateness(arrived))
    found = {
        "delivered": len(late),
        "expected": viewers * deltas,
        "p50_ms": late[len(late) // 2],
        "p99_ms": late[int(len(late) * 0.99)],
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    address, *numbers = sys.argv[1:]
    asyncio.run(main(address, *map(int, numbers)))
