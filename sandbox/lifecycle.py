"""When things happen to a batch: pure functions of its record and of the time."""

import random
from datetime import datetime, timedelta
from typing import Any

import msgspec

from sandbox.identifiers import digest

WINDOW = timedelta(hours=24)
AVAILABLE = timedelta(days=29)
LONGEST_CANCEL = 1.0
# What is already being answered when a cancel arrives is still finished.
IN_FLIGHT = 0.02


class Batch(msgspec.Struct):
    """What is remembered of one batch beside its requests.

    `succeeding` counts the requests that succeed if all are run; `ends_at` is when all would be.
    """

    id: str
    sequence: int
    version: str
    failure_rate: float
    created_at: datetime
    ends_at: datetime
    size: int = 0
    succeeding: int = 0
    cancel_initiated_at: datetime | None = None
    cancel_ends_at: datetime | None = None

    @property
    def expires_at(self) -> datetime:
        return self.created_at + WINDOW

    @property
    def ended_at(self) -> datetime:
        times = [self.ends_at, self.expires_at, self.cancel_ends_at]
        return min(time for time in times if time is not None)

    def has_ended(self, at: datetime) -> bool:
        return at >= self.ended_at

    def is_available(self, at: datetime) -> bool:
        """Results exist from the end until 29 days after creation."""
        return self.has_ended(at) and at < self.created_at + AVAILABLE

    def cancel(self, at: datetime) -> bool:
        """False when there is nothing left to cancel."""
        if self.has_ended(at) or self.cancel_initiated_at is not None:
            return False
        planned = (self.ends_at - self.created_at).total_seconds()
        self.cancel_initiated_at = at
        self.cancel_ends_at = at + timedelta(seconds=min(planned / 4, LONGEST_CANCEL))
        return True

    def done(self, at: datetime) -> int:
        """How many succeed in the time until then, never more than in all."""
        share = (at - self.created_at) / (self.ends_at - self.created_at)
        return min(int(self.size * max(share, 0)), self.succeeding)

    def leftover(self) -> str | None:
        """What becomes of requests that were not run before the end; None when all were."""
        if self.ended_at == self.ends_at:
            return None
        return "canceled" if self.ended_at == self.cancel_ends_at else "expired"

    def was_run(self) -> bytes:
        """One byte for each request: 1 where it was run before the batch ended."""
        stopped_at = self.expires_at
        if self.leftover() == "canceled" and self.cancel_initiated_at is not None:
            stopped_at = self.cancel_initiated_at
        share = (stopped_at - self.created_at) / (self.ends_at - self.created_at) + IN_FLIGHT
        draw = random.Random(self.id)
        return bytes(draw.random() < share for _ in range(self.size))


def planned_end(batch_id: str, created_at: datetime, batch_seconds: float) -> datetime:
    """Half to one and a half times `batch_seconds` after creation, as the id decides.

    At least a microsecond, for no batch has ended when it is created.
    """
    factor = 0.5 + digest(batch_id, "end") % 1001 / 1000
    return created_at + max(timedelta(seconds=batch_seconds * factor), timedelta.resolution)


def shown(batch: Batch, counts: dict[str, int], at: datetime, results_url: str) -> dict[str, Any]:
    """The MessageBatch object as the API writes it: every key, in its order.

    The API does not document whether `results_url` outlives the results; here it does not.
    """
    ended = batch.has_ended(at)
    gone = at >= batch.created_at + AVAILABLE
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": _status(batch, ended),
        "request_counts": counts,
        "ended_at": timestamp(batch.ended_at) if ended else None,
        "created_at": timestamp(batch.created_at),
        "expires_at": timestamp(batch.expires_at),
        "archived_at": timestamp(batch.created_at + AVAILABLE) if gone else None,
        "cancel_initiated_at": timestamp(batch.cancel_initiated_at),
        "results_url": results_url if ended and not gone else None,
    }


def counted(
    processing: int = 0, succeeded: int = 0, errored: int = 0, canceled: int = 0, expired: int = 0
) -> dict[str, int]:
    return {
        "processing": processing,
        "succeeded": succeeded,
        "errored": errored,
        "canceled": canceled,
        "expired": expired,
    }


def timestamp(time: datetime | None) -> str | None:
    """Microseconds and `+00:00`, as the API writes times."""
    return time.isoformat(timespec="microseconds") if time else None


def _status(batch: Batch, ended: bool) -> str:
    if ended:
        return "ended"
    return "canceling" if batch.cancel_initiated_at else "in_progress"
