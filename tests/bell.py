"""Run by a test as two processes: `listen` prints what the channel layer brings, `ring` sends."""

import asyncio
import sys

import django

django.setup()

from channels.layers import get_channel_layer  # noqa: E402

GROUP = "bell"


async def listen() -> None:
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(GROUP, channel)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    message = await layer.receive(channel)
    sys.stdout.write(f"heard {message['text']}\n")


async def ring(text: str) -> None:
    await get_channel_layer().group_send(GROUP, {"type": "bell", "text": text})


if __name__ == "__main__":
    asyncio.run(listen() if sys.argv[1] == "listen" else ring(sys.argv[2]))
