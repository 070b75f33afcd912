"""Watching a Turn that another process writes, through what that one stores.

One task for each such Turn and process, however many viewers there are here. Each look costs a
query; where Redis is configured the writer rings a bell, and the looks are few.
"""

from channels.db import database_sync_to_async

from leases.clock import database_now
from streaming.bells import Bell
from streaming.hubs import Hub, Sent, hubs
from streaming.models import Turn
from streaming.relay import keep_running
from streaming.storing import end_frame, gone_frame, interrupt_abandoned, stored_frames

LOOK_EVERY = 0.1
LOOK_EVERY_WITH_BELL = 2.0


def find_hub(turn_id: int) -> Hub:
    """Where this process tells of a Turn: its relay, or a follower of what is stored."""
    if turn_id not in hubs:
        follower = Follower(turn_id)
        follower.open()
        keep_running(follower.run())
    return hubs[turn_id]


class Follower(Hub):
    async def run(self) -> None:
        """Tell what is stored until the Turn has ended, or nobody watches any more."""
        try:
            async with Bell(self.turn_id) as bell:
                seq = 0
                while self.end is None and self.is_open:
                    seq = await self._look(seq)
                    if self.end is None and not len(self):
                        return
                    await bell.wait(LOOK_EVERY_WITH_BELL if bell.rings else LOOK_EVERY)
        finally:
            self.close()

    async def _look(self, seq: int) -> int:
        frames, turn = await database_sync_to_async(look)(self.turn_id, seq)
        for frame in frames:
            self.tell(frame)
        if turn is None:
            self.tell(gone_frame(seq))
        elif not turn.is_live:
            self.tell(end_frame(turn))
        return frames[-1].seq if frames else seq


def look(turn_id: int, seq: int) -> tuple[list[Sent], Turn | None]:
    """What was stored after `seq`, and the Turn as it stood before that was read.

    None where its conversation was deleted.
    """
    turn = Turn.objects.filter(pk=turn_id).first()
    if turn is None:
        return [], None
    frames = stored_frames(turn_id, seq)
    if turn.is_live:
        at = database_now()
        Turn.objects.live().filter(pk=turn_id).free_abandoned(at)
        interrupt_abandoned(turn, at)
    return frames, turn
