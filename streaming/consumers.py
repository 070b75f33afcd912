"""The socket of one Turn: join, replay, follow.

    /w/<slug>/conversations/<conversation>/turns/<turn>/live/?after=N

Every message is a frame (see windows.encode_frame); the last one holds `end`. Close codes: 1000
after the end, 4404 no such Turn for this person (any more), 4400 an `after` that is no number.
"""

import asyncio
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from streaming.following import find_hub
from streaming.hubs import Hub, Sent
from streaming.models import Turn
from streaming.relay import keep_running
from streaming.storing import stored_frames
from workspaces.access import may_follow

ENDED, BAD_REQUEST, NOT_HERE = 1000, 4400, 4404
CHECK_EVERY = 30.0


class Live(AsyncWebsocketConsumer):
    # Frames go from hub to socket; nothing is sent over the layer.
    channel_layer_alias = None

    async def connect(self) -> None:
        query = parse_qs(self.scope["query_string"].decode())
        after = query.get("after", ["0"])[0]
        self.turn_id = self.scope["url_route"]["kwargs"]["turn"]
        if not (after.isascii() and after.isdigit()):
            await self.close(BAD_REQUEST)
        elif not await self.may_watch():
            await self.close(NOT_HERE)
        else:
            await self.accept()
            self.pumping = keep_running(self.pump(min(int(after[:9]), 10**9)))

    async def disconnect(self, code: int) -> None:
        if task := getattr(self, "pumping", None):
            task.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Whatever is said here is taken as the wish to be checked once more."""
        if not await self.may_watch():
            await self.close(NOT_HERE)

    async def may_watch(self) -> bool:
        route = self.scope["url_route"]["kwargs"]
        workspace = await may_follow(self.scope["session"].session_key, route["slug"])
        if workspace is None:
            return False
        turns = Turn.objects.filter(pk=self.turn_id, conversation=route["conversation"])
        of_workspace = turns.filter(conversation__workspace=workspace)
        return bool(await database_sync_to_async(of_workspace.exists)())

    async def pump(self, seq: int) -> None:
        """Send every frame after `seq`, in order, to the end."""
        async with asyncio.TaskGroup() as group:
            checking = group.create_task(self.check())
            while seq >= 0:
                seq = await self.follow(find_hub(self.turn_id), seq)
            checking.cancel()
        await self.close(ENDED)

    async def check(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY)
            if not await self.may_watch():
                await self.close(NOT_HERE)

    async def follow(self, hub: Hub, seq: int) -> int:
        """Watch until the end (-1), or until frames were missed (the last one that was sent)."""
        viewer = hub.join()
        try:
            for frame in await database_sync_to_async(stored_frames)(self.turn_id, seq):
                seq = await self.pass_on(frame, seq)
            while not viewer.behind:
                for frame in await viewer.take():
                    if frame.seq > seq + 1 and not frame.is_end:
                        return seq
                    if frame.is_end:
                        await self.pass_on(frame, seq)
                        return -1
                    seq = await self.pass_on(frame, seq)
        finally:
            viewer.leave()
        return seq

    async def pass_on(self, frame: Sent, seq: int) -> int:
        if frame.seq <= seq:
            return seq
        # What AsyncWebsocketConsumer.send comes down to, a hundred times a second and viewer.
        await self.base_send({"type": "websocket.send", "text": frame.payload})
        return frame.seq
