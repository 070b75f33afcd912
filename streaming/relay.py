"""One task for each live Turn: reads upstream, coalesces, stores, tells the viewers.

The task belongs to the web process and to no socket: a closed tab does not end a stream. It
holds the Turn's lease; once that is another's, nothing more is written.
"""

import asyncio
import contextvars
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.db import DatabaseError, close_old_connections

from claude_api import (
    ApiError,
    AsyncClient,
    ClaudeError,
    Event,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    ServerError,
    UnexpectedEvent,
)
from claude_api.retries import delay
from leases.clock import database_now
from streaming.bells import ring
from streaming.hubs import Hub, Sent
from streaming.models import Turn
from streaming.snapshot import Snapshot, accumulate
from streaming.storing import (
    Standing,
    answer_of,
    end_frame,
    forget_frames,
    gone_frame,
    interrupted_after,
    store_frames,
)
from streaming.windows import Transcript, Window, encode_frame

WINDOW = 0.03
# A read that takes longer has waited: all that had arrived was read.
QUIET = 0.002
STORE_EVERY = 0.1
RENEW_EVERY = 5.0
FRAMES_LAST = 5.0
MOST_TRIES = 5
LONGEST_WAIT = 120.0
logger = logging.getLogger(__name__)

relays: "dict[int, Relay]" = {}
_tasks: set[asyncio.Task[None]] = set()


class Relay(Hub):
    """`make_client` gives the client of the Turn's key; `request` is what is asked."""

    def __init__(
        self, turn: Turn, request: dict[str, Any], make_client: Callable[[], AsyncClient]
    ) -> None:
        super().__init__(turn.pk)
        self.turn = turn
        self.fence = turn.fence
        self.seq = 0
        self._request = request
        self._make_client = make_client
        self._window = Window()
        self._snapshot = Snapshot()
        self._transcript = Transcript()
        self._began = time.monotonic()
        self._first_token_at: datetime | None = None
        self._request_id = ""
        self._flushing: asyncio.TimerHandle | None = None
        self._reading: asyncio.Task[dict[str, Any]] | None = None
        self._fault: ClaudeError | None = None
        self._stopped = False
        self._lost = False

    async def run(self) -> None:
        """Write the Turn to its end, whatever that is, and say so to everybody.

        Where even that breaks, its lease is not renewed any more, and those who watch look anew.
        """
        try:
            await self._run()
        finally:
            relays.pop(self.turn_id, None)
            self.close()
            self.dismiss()

    async def _run(self) -> None:
        self._reading = asyncio.ensure_future(self._write())
        try:
            end = await self._reading
        except asyncio.CancelledError:
            if not (self._stopped or self._lost or self._fault):
                raise
            end = self._ending()
        await keeper.store_all()
        last = await database_sync_to_async(self._finish)(end)
        relays.pop(self.turn_id, None)
        self.close()
        self.tell(last)
        await ring({self.turn_id})
        # Whoever follows in another process still reads the last ones.
        await asyncio.sleep(FRAMES_LAST)
        await database_sync_to_async(forget_frames)(self.turn_id)

    @property
    def has_begun(self) -> bool:
        return bool(self._snapshot.message)

    def stop(self) -> None:
        """End the upstream at once and keep what came."""
        self._stopped = True
        if self._reading is not None:
            self._reading.cancel()

    def lose(self) -> None:
        """The Turn is no longer ours to write."""
        self._lost = True
        if self._reading is not None:
            self._reading.cancel()

    async def _write(self) -> dict[str, Any]:
        async with self._make_client() as client:
            for attempt in range(MOST_TRIES):
                try:
                    async with client.stream_message(self._request) as events:
                        self._request_id = client.last.request_id
                        await self._read(events)
                    return self._ending()
                except ClaudeError as error:
                    self._fault = error
                    pause = self._pause_before(error, attempt)
                    if pause is None:
                        return self._ending()
                    self._say_waiting(error, pause)
                    await asyncio.sleep(pause)
                    self._fault = None
        return self._ending()

    async def _read(self, events: AsyncIterator[Event]) -> None:
        """Take events as they come, in windows: what arrives within one is read together, which
        costs a fraction of reading each as it arrives."""
        loop = asyncio.get_running_loop()
        opened = asked = loop.time()
        async for event in events:
            now = loop.time()
            if not self._window:
                opened = now
            self._window.add(event)
            if event.type == "error":
                return
            if now - asked > QUIET:
                await asyncio.sleep(WINDOW - QUIET)
            asked = loop.time()
            if asked - opened > 2 * WINDOW:
                self._flush()
            elif self._flushing is None:
                self._flushing = loop.call_later(QUIET, self._flush)

    def _flush(self) -> None:
        """One frame of what came since the last one."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        events, at, taken = self._window.take(), self._transcript.length, []
        try:
            for event in events:
                self._snapshot = accumulate(self._snapshot, event)
                self._transcript.add(event)
                taken.append(event)
        except UnexpectedEvent as error:
            self._fault = error
            if self._reading is not None:
                self._reading.cancel()
        if taken:
            self._note_first_token()
            self._send(taken, at)

    def _send(self, events: list[Event], at: int) -> None:
        self.seq += 1
        milliseconds = round((time.monotonic() - self._began) * 1000)
        frame = Sent(self.seq, encode_frame(self.seq, at, milliseconds, events))
        self.recent.append(frame)
        self.tell(frame)

    def _note_first_token(self) -> None:
        if self._transcript.length and self._first_token_at is None:
            self._first_token_at = datetime.now(UTC)

    def _pause_before(self, error: ClaudeError, attempt: int) -> float | None:
        """How long to wait before asking once more: only where nothing of an answer came, and
        the API said that it was busy, or was not reached at all."""
        passing = isinstance(error, NotSent | RateLimited) or (
            isinstance(error, ServerError) and error.status == 529
        )
        if not passing or self._snapshot.message or attempt + 1 == MOST_TRIES:
            return None
        pause = delay(error, attempt, random.random())
        return pause if pause is not None and pause <= LONGEST_WAIT else None

    def _say_waiting(self, error: ClaudeError, pause: float) -> None:
        """A frame of ours, not of the API, for those who watch."""
        data = {"type": "sluice_wait", "seconds": round(pause, 1), "reason": str(error)}
        self._send([Event("sluice_wait", data, b"")], self._transcript.length)

    def _ending(self) -> dict[str, Any]:
        """The state that the Turn ends in, and why."""
        self._flush()
        state, reason = self._judge()
        fault = self._fault
        kind = (self._snapshot.error or {}).get("type", "")
        return {
            "state": state,
            "reason": reason,
            "error_type": (fault.type if isinstance(fault, ApiError) else kind)[:60],
            "request_id": self._request_id[:100],
        }

    def _judge(self) -> tuple[str, str]:
        state = Turn.State
        if self._snapshot.complete:
            return state.DONE, ""
        if self._stopped:
            return state.STOPPED, ""
        if self._snapshot.error is not None:
            message = self._snapshot.error.get("message") or "no reason given"
            return state.FAILED, f"The API broke the answer off: {message}"
        if isinstance(self._fault, ApiError | NotSent):
            return state.FAILED, str(self._fault)
        why = "the connection to Claude broke."
        if isinstance(self._fault, OutcomeUnknown | UnexpectedEvent):
            why = str(self._fault)
        return state.INTERRUPTED, interrupted_after(self._transcript, why)

    def _finish(self, end: dict[str, Any]) -> Sent:
        at = database_now()
        changes = answer_of(self._snapshot, self._transcript) | end
        self.turn.finish(at=at, frames=self.seq, first_token_at=self._first_token_at, **changes)
        turn = Turn.objects.filter(pk=self.turn_id).first()
        return end_frame(turn) if turn else gone_frame(self.seq)


class Keeper:
    """Stores the frames of all relays of this process together, renews their leases, and looks
    whether somebody wants one of them to stop."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._running = False
        self._renewed = 0.0

    def wake(self) -> None:
        if not self._running:
            self._running = True
            keep_running(self._run())

    async def _run(self) -> None:
        self._lock = asyncio.Lock()
        try:
            while relays:
                await asyncio.sleep(STORE_EVERY)
                await self.store()
        finally:
            self._running = False

    async def store_all(self) -> None:
        """Have everything in the database, however long that takes."""
        while True:
            if await self.store():
                return
            await asyncio.sleep(STORE_EVERY)

    async def store(self) -> bool:
        """Store what is not stored yet; then every frame that was told is in the database.

        False where the database does not take it now: nothing is given up, it is tried again.
        """
        async with self._lock:
            ours = dict(relays)
            counts = {turn_id: len(relay.recent) for turn_id, relay in ours.items()}
            renew = time.monotonic() - self._renewed >= RENEW_EVERY
            try:
                standing = await sync_to_async(store_frames)(
                    {turn_id: relay.fence for turn_id, relay in ours.items()},
                    [(turn_id, frame) for turn_id, relay in ours.items() for frame in relay.recent],
                    begun={turn_id for turn_id, relay in ours.items() if relay.has_begun},
                    renew=renew,
                )
            except DatabaseError as error:
                logger.warning("frames are not stored yet: %s", error)
                await sync_to_async(close_old_connections)()
                return False
            if renew:
                self._renewed = time.monotonic()
            for turn_id, relay in ours.items():
                del relay.recent[: counts[turn_id]]
            self._obey(ours, standing)
            await ring({turn_id for turn_id, count in counts.items() if count})
            return True

    def _obey(self, ours: dict[int, Relay], standing: Standing) -> None:
        for turn_id in standing.stopped:
            ours[turn_id].stop()
        for turn_id in standing.lost:
            ours[turn_id].lose()


keeper = Keeper()


def start(turn: Turn, request: dict[str, Any], make_client: Callable[[], AsyncClient]) -> Relay:
    """Begin to write a claimed Turn; it goes on when the caller is long gone."""
    relay = relays[turn.pk] = Relay(turn, request, make_client)
    relay.open()
    keep_running(relay.run())
    keeper.wake()
    return relay


def keep_running(work: Any) -> asyncio.Task[None]:
    # Without a context of its own it would share the request's, whose database threads end with
    # the response.
    task: asyncio.Task[None] = asyncio.get_running_loop().create_task(
        work, context=contextvars.Context()
    )
    _tasks.add(task)
    task.add_done_callback(_done)
    return task


def _done(task: asyncio.Task[None]) -> None:
    _tasks.discard(task)
    if not task.cancelled() and (error := task.exception()):
        logger.error("a live answer broke", exc_info=error)
