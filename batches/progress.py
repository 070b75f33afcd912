"""How far a Batch is: counted in parts, in times that were measured, and never made up."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from django.db.models import Count, Max, Min

from batches.models import Batch, MessageBatch, Run, Worker
from batches.models.batch import superseded

State = MessageBatch.State
MOST_SEGMENTS = 40
PARTS_PER_PAGE = 50
SOON = timedelta(hours=2)
# Work that is due lies this long before a page wonders about the workers.
PATIENCE = timedelta(seconds=10)
MOST_DELAYS = 3
USUAL_OVER = 12
USUAL_FROM = 5


class Segment(NamedTuple):
    shape: str
    title: str


class Parts:
    """A page of a Batch's parts, the newest attempt of each first."""

    def __init__(self, batch: Batch, start: int | None = None) -> None:
        self.batch, self.start = batch, start or 0
        found = list(
            batch.message_batches.visible()
            .filter(part__gte=self.start)
            .order_by("part", "-pk")[: PARTS_PER_PAGE + 1]
        )
        self.more = found[PARTS_PER_PAGE].part if len(found) > PARTS_PER_PAGE else None
        self.shown: list[MessageBatch] = found[:PARTS_PER_PAGE]
        self.replaced = superseded(self.shown)

    @property
    def segments(self) -> list[Segment]:
        """One for each part, where they are few enough to be told apart."""
        current = [part for part in self.shown if part.pk not in self.replaced]
        if self.start or self.more or not 1 < len(current) <= MOST_SEGMENTS:
            return []
        return [Segment(shape(part), describe(part)) for part in current]


def shape(part: MessageBatch) -> str:
    if part.state == State.QUEUED or part.state == State.DROPPED:
        return "waiting"
    if part.state == State.REJECTED:
        return "failed"
    if part.needs_person:
        return "notched"
    if part.state in part.OPEN:
        return "half"
    succeeded = part.answers.get("succeeded", 0)
    # What was sent once more counts where its newest attempt is.
    if succeeded == sum(part.answers.values()):
        return "full"
    if succeeded:
        return "notched"
    return unanswered(part) or "failed"


def unanswered(part: MessageBatch) -> str:
    """`canceled` or `expired` for a part that ended with no other answers."""
    kinds = {kind for kind, number in part.answers.items() if number}
    if not kinds or not kinds <= {"canceled", "expired"}:
        return ""
    return "expired" if "expired" in kinds else "canceled"


def describe(part: MessageBatch) -> str:
    """Part 3: ended, 998 of 1,000 succeeded."""
    if what := unanswered(part):
        return f"Part {part.part:,}: {what}, {part.size:,} requests"
    if part.state in (State.STORED, State.LOST):
        succeeded, counted = part.answers.get("succeeded", 0), sum(part.answers.values())
        again = f", {part.size - counted:,} sent once more" if counted < part.size else ""
        return f"Part {part.part:,}: ended, {succeeded:,} of {part.size:,} succeeded{again}"
    word = part.get_state_display() if part.state in part.NOT_SENT else Batch.State(part.word).label
    return f"Part {part.part:,}: {word.lower()}, {part.size:,} requests"


class Timing:
    """What is known of the times of a Batch; every one is None until it is."""

    def __init__(self, batch: Batch, at: datetime) -> None:
        self.batch, self.at = batch, at
        self._watched = batch.message_batches.watched().aggregate(
            first=Min("expires_at"), last=Max("expires_at"), since=Min("created_at")
        )
        self.limit: datetime | None = self._watched["last"]
        self.since: datetime | None = self._watched["since"]

    @property
    def expiring(self) -> datetime | None:
        """When the first part runs out of time, if that is soon."""
        first: datetime | None = self._watched["first"]
        return first if first and first - self.at < SOON else None

    @property
    def left(self) -> float:
        return max((self.expiring - self.at).total_seconds(), 0) if self.expiring else 0

    @cached_property
    def last_took(self) -> float | None:
        ended = self.batch.message_batches.exclude(ended_at=None).exclude(created_at=None)
        times = ended.order_by("-ended_at").values_list("created_at", "ended_at").first()
        return (times[1] - times[0]).total_seconds() if times else None

    @cached_property
    def took(self) -> float | None:
        """From the first part that was sent to the last that was stored; nobody waited between
        two runs."""
        if self.batch.runs.filter(state=Run.State.BUILT).count() > 1:
            return None
        times = self.batch.message_batches.aggregate(first=Min("sent_at"), last=Max("stored_at"))
        if times["first"] is None or times["last"] is None:
            return None
        return (times["last"] - times["first"]).total_seconds()

    @cached_property
    def ended_at(self) -> datetime | None:
        return self.batch.message_batches.aggregate(last=Max("stored_at"))["last"]

    @cached_property
    def usual(self) -> tuple[int, float, float] | None:
        """How many of the workspace's last parts there are, and the quickest and the slowest."""
        ended = MessageBatch.objects.filter(workspace_id=self.batch.workspace_id).exclude(
            ended_at=None
        )
        times = ended.order_by("-pk").values_list("created_at", "ended_at")[:USUAL_OVER]
        took = [(end - start).total_seconds() for start, end in times if start]
        return (len(took), min(took), max(took)) if len(took) >= USUAL_FROM else None


def idle_since(batch: Batch, at: datetime) -> datetime | None:
    """Since when work of the Batch lies there and no worker is alive to do it."""
    if batch.final or Worker.objects.alive(at).exists():
        return None
    runs = batch.runs.filter(state=Run.State.QUEUED).aggregate(first=Min("due_at"))
    parts = batch.message_batches.filter(state__in=MessageBatch.OPEN).aggregate(first=Min("due_at"))
    dates: Sequence[datetime] = [one["first"] for one in (runs, parts) if one["first"]]
    since = min(dates, default=None)
    return since if since and since <= at - PATIENCE else None


class Delay(NamedTuple):
    """Why parts wait, in the words of what held them up."""

    reason: str
    parts: int
    first: int

    def __str__(self) -> str:
        who = f"Part {self.first:,} waits" if self.parts == 1 else f"{self.parts:,} parts wait"
        return f"{who}. {self.reason.rstrip('.')}. It is tried again by itself."


def delays(batch: Batch) -> list[Delay]:
    """The most common ones; what a person has to mend is asked elsewhere."""
    states = (State.QUEUED, State.SUBMITTED)
    waiting = batch.message_batches.filter(state__in=states, cancel_requested_at=None)
    reasons = waiting.exclude(reason="").values("reason").order_by()
    counted = reasons.annotate(parts=Count("pk"), first=Min("part")).order_by("-parts", "first")
    return [Delay(**row) for row in counted[:MOST_DELAYS]]


def incomplete_parts(batch: Batch) -> list[MessageBatch]:
    """The first of those whose results fell short; each says itself how."""
    found = batch.message_batches.filter(state=State.INCOMPLETE).order_by("part")
    return list(found[:MOST_DELAYS])


def refused_run(batch: Batch) -> Run | None:
    """The newest Run, where it was refused: its reason says why nothing of it was sent."""
    run = batch.runs.order_by("-pk").first()
    return run if run is not None and run.state == Run.State.REFUSED else None
