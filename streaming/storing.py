"""What the database keeps of a Turn while it is written, and how the Turn ends."""

from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
from django.db import transaction
from django.db.models import QuerySet

from claude_api.pricing import LIVE_SHARE, cost
from leases.clock import database_now
from leases.models import LEASE
from streaming.hubs import Sent
from streaming.models import Frame, Turn
from streaming.snapshot import Snapshot, accumulate
from streaming.windows import Transcript, read_frame

SERVER_STOPPED = "the server that wrote it stopped."


class Standing(NamedTuple):
    """Of the Turns that a process writes: which a person wants to stop, which are its no more."""

    stopped: set[int]
    lost: set[int]


def store_frames(
    fences: Mapping[int, int],
    frames: Sequence[tuple[int, Sent]],
    *,
    begun: Set[int] = frozenset(),
    renew: bool = False,
) -> Standing:
    """Store the frames of several Turns in one transaction, each as long as the Turn is ours.

    `fences` are the Turns that this process writes, `begun` those with a first word; with
    `renew` their leases are renewed.
    """
    with transaction.atomic():
        rows = Turn.objects.live().filter(pk__in=fences)
        ours = {row.pk: row for row in rows if fences[row.pk] == row.fence}
        stored = [
            Frame(turn_id=turn_id, seq=frame.seq, payload=frame.payload)
            for turn_id, frame in frames
            if turn_id in ours
        ]
        Frame.objects.bulk_create(stored)
        waiting = {pk for pk, row in ours.items() if row.state == Turn.State.QUEUED}
        if waiting & begun:
            Turn.objects.filter(pk__in=waiting & begun).update(state=Turn.State.STREAMING)
        if renew and ours:
            Turn.objects.filter(pk__in=ours).update(lease_until=database_now() + LEASE)
    stopped = {pk for pk, row in ours.items() if row.stop_requested_at}
    return Standing(stopped, set(fences) - set(ours))


def forget_frames(turn_id: int) -> None:
    """The answer is saved whole: what it came in is not needed any more."""
    Frame.objects.filter(turn_id=turn_id).delete()


def stored_frames(turn_id: int, after: int) -> list[Sent]:
    rows = Frame.objects.filter(turn_id=turn_id, seq__gt=after).order_by("seq")
    return [Sent(seq, payload) for seq, payload in rows.values_list("seq", "payload")]


def fold_stored(turn_id: int) -> tuple[Snapshot, Transcript, int]:
    """What a live Turn's frames say together, and the number of the last one."""
    snapshot, transcript, last = Snapshot(), Transcript(), 0
    for frame in stored_frames(turn_id, 0):
        last = frame.seq
        for event in read_frame(frame.payload):
            snapshot = accumulate(snapshot, event)
            transcript.add(event)
    return snapshot, transcript, last


def answer_of(snapshot: Snapshot, transcript: Transcript) -> dict[str, Any]:
    """The columns of a Turn that say what was answered."""
    return {
        "answer": snapshot.message,
        "stop_reason": snapshot.stop_reason[:60],
        "usage": snapshot.message.get("usage") or {},
        "cost": cost_of(snapshot),
        "length": transcript.length,
        "digest": transcript.digest,
    }


def cost_of(snapshot: Snapshot) -> Decimal | None:
    """By the live prices; None while not all tokens are counted, or a price is not known."""
    if not snapshot.complete:
        return None
    return cost(str(snapshot.message.get("model", "")), snapshot.usage, LIVE_SHARE)


def interrupt_abandoned(turn: Turn, at: datetime) -> bool:
    """Say of a live Turn whose writer is gone that it was interrupted; its text so far is kept."""
    if not Turn.objects.abandoned(at).filter(pk=turn.pk, fence=turn.fence).exists():
        return False
    snapshot, transcript, last = fold_stored(turn.pk)
    reason = interrupted_after(transcript, SERVER_STOPPED)
    changes = answer_of(snapshot, transcript)
    ended = turn.finish(state=Turn.State.INTERRUPTED, at=at, reason=reason, frames=last, **changes)
    turn.refresh_from_db()
    forget_frames(turn.pk)
    return ended


def end_abandoned(turns: QuerySet[Turn], at: datetime) -> None:
    """Say of all Turns whose writer is gone that they were interrupted.

    After a crash on this machine nobody waits until the leases run out.
    """
    live = list(turns.filter(state__in=Turn.LIVE))
    if live:
        Turn.objects.filter(pk__in=[turn.pk for turn in live]).free_abandoned(at)
    for turn in live:
        interrupt_abandoned(turn, at)


def interrupted_after(transcript: Transcript, why: str) -> str:
    if not transcript.length:
        return f"Interrupted before the first word: {why}"
    return f"Interrupted after {transcript.length:,} characters: {why}"


def end_frame(turn: Turn) -> Sent:
    """The last frame of a Turn: how it ended, and what the text that was sent must be like."""
    end = {"state": turn.state, "length": turn.length, "sha256": turn.digest}
    payload = msgspec.json.encode({"seq": turn.frames + 1, "at": turn.length, "end": end})
    return Sent(turn.frames + 1, payload.decode(), is_end=True)


def gone_frame(seq: int) -> Sent:
    """The last frame of a Turn whose conversation was deleted meanwhile."""
    end = {"state": "gone", "length": 0, "sha256": ""}
    payload = msgspec.json.encode({"seq": seq + 1, "at": 0, "end": end})
    return Sent(seq + 1, payload.decode(), is_end=True)
