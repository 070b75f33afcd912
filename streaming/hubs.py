"""Who watches a Turn in this process: each is given every frame, and nobody waits for another."""

import asyncio
from collections import deque
from typing import NamedTuple

MOST_WAITING = 256


class Sent(NamedTuple):
    """A frame by its number, encoded once for all. The last one of a Turn says how it ended."""

    seq: int
    payload: str
    is_end: bool = False


class Viewer:
    """What one viewer has not taken yet. One that falls far behind has to read what is stored."""

    def __init__(self, hub: "Hub", recent: list[Sent]) -> None:
        self.hub = hub
        self._waiting: deque[Sent] = deque(recent)
        self._news = asyncio.Event()
        self.behind = False
        if recent:
            self._news.set()

    def give(self, frame: Sent) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.clear()
            self.behind = True
        self._waiting.append(frame)
        self._news.set()

    def dismiss(self) -> None:
        self.behind = True
        self._news.set()

    def leave(self) -> None:
        self.hub.viewers.discard(self)

    async def take(self) -> list[Sent]:
        """All that has come since, at least one frame."""
        await self._news.wait()
        self._news.clear()
        taken = list(self._waiting)
        self._waiting.clear()
        return taken


# Where this process tells of a Turn.
hubs: "dict[int, Hub]" = {}


class Hub:
    """The viewers of one Turn. `recent` are the frames that the database does not have yet."""

    def __init__(self, turn_id: int) -> None:
        self.turn_id = turn_id
        self.recent: list[Sent] = []
        self.end: Sent | None = None
        self.viewers: set[Viewer] = set()

    def open(self) -> None:
        """Tell of the Turn from now on; who watched it at another hub comes here.

        A relay opens before its first frame, so that nobody who comes has missed one: 200 viewers
        that read again what is stored would be late for the first half second.
        """
        before = hubs.get(self.turn_id)
        hubs[self.turn_id] = self
        if before is not None:
            self.take_over(before.viewers)
            before.viewers = set()

    def take_over(self, viewers: set[Viewer]) -> None:
        for viewer in viewers:
            viewer.hub = self
            for frame in self.recent:
                viewer.give(frame)
        self.viewers |= viewers

    def close(self) -> None:
        if hubs.get(self.turn_id) is self:
            del hubs[self.turn_id]

    @property
    def is_open(self) -> bool:
        return hubs.get(self.turn_id) is self

    def __len__(self) -> int:
        return len(self.viewers)

    def join(self) -> Viewer:
        """Watch from now on. What was stored before is read by the viewer afterwards: whatever is
        stored in between is in both, and no frame is in neither."""
        viewer = Viewer(self, [*self.recent, *([self.end] if self.end else [])])
        self.viewers.add(viewer)
        return viewer

    def dismiss(self) -> None:
        """Nothing more is told here; who still watches has to look for another hub."""
        for viewer in self.viewers:
            viewer.dismiss()

    def tell(self, frame: Sent) -> None:
        if frame.is_end:
            self.end = frame
        for viewer in self.viewers:
            viewer.give(frame)
