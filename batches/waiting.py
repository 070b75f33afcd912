"""What a person says of answers that have not come: ask again now, or wait no longer.

The pages and `manage.py collect_part` call the same verbs; a worker does what is asked.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F

from batches.collecting import CLOCK_MARGIN, RESULTS_KEPT, is_over
from batches.models import MessageBatch
from batches.models.message_batch import MessageBatchQuerySet
from batches.words import count

if TYPE_CHECKING:
    from django.contrib.auth.models import User

State = MessageBatch.State
# From the 22nd day on people are told of results that the API deletes and that are not here.
WARNED_BEFORE = timedelta(days=7)


class CannotCollect(Exception):
    """What was asked does not fit the part; the sentence says why."""


def why_not_collect(part: MessageBatch, at: datetime) -> str:
    """Why there is nothing to ask the API for; empty where there is."""
    ended = part.state == State.SUBMITTED and part.processing_status == "ended"
    if not (ended or part.state in (State.INCOMPLETE, State.STORED)):
        return f"Part {part.part} has no results to collect."
    if part.deleted_at:
        return "The results were deleted at the API."
    if part.delete_requested_at:
        return "The results are being deleted at the API."
    if is_over(part, at, CLOCK_MARGIN):
        return "The API keeps results for 29 days, and these are older."
    if part.is_set_aside:
        return f"Part {part.part} is set aside. Start it again first."
    if part.stop_waiting_at and part.state == State.INCOMPLETE:
        return "Somebody has stopped waiting for the rest already."
    return ""


def collect_again(part: MessageBatch, at: datetime, actor: "User | None" = None) -> None:
    """Ask the API for the results at once; of what is stored the proof begins anew."""
    if why := why_not_collect(part, at):
        raise CannotCollect(why)
    changes = {"due_at": at, "attempts": 0}
    if part.state == State.STORED:
        changes |= {"proven_at": None, "stored_at": part.stored_at or at}
    free = MessageBatch.objects.filter(pk=part.pk, fence=part.fence, state=part.state).free(at)
    with transaction.atomic():
        if not free.update(**changes):
            raise CannotCollect("It is being collected now.")
        said = f"Part {part.part} is to be collected again now."
        part.batch.record("collect_again", said, actor=actor, at=at, part=part.part)
    part.refresh_from_db()


def vanishing(parts: MessageBatchQuerySet, at: datetime) -> MessageBatchQuerySet:
    """Those whose results the API deletes soon, and that are not stored here."""
    return parts.filter(
        state__in=[State.SUBMITTED, State.INCOMPLETE],
        stop_waiting_at=None,
        deleted_at=None,
        batch__deleting_at=None,
        created_at__lt=at - RESULTS_KEPT + WARNED_BEFORE,
        created_at__gt=at - RESULTS_KEPT,
    ).order_by("created_at")


def say_vanishing(part: MessageBatch, at: datetime) -> str:
    left = part.created_at + RESULTS_KEPT - at if part.created_at else timedelta()
    days = count(left.days, "day") if left.days else count(left.seconds // 3600, "hour")
    return f"part {part.part:,}: results are deleted at the API in {days} and are not stored."


def missing_answers(part: MessageBatch) -> int:
    return int(part.proof.get("missing", part.size - sum(part.answers.values())))


def why_not_stop(part: MessageBatch) -> str:
    if part.state != State.INCOMPLETE:
        return f"Nobody waits for answers of part {part.part}: it is not incomplete."
    if part.stop_waiting_at:
        return "Somebody has stopped waiting for the rest already."
    return ""


def stop_waiting(part: MessageBatch, at: datetime, actor: "User | None" = None) -> None:
    """Do without what has not come: a worker makes it `missing`, for good."""
    if why := why_not_stop(part):
        raise CannotCollect(why)
    # Out of the hands of whoever collects it: that one would put it off for hours.
    changes = {"fence": F("fence") + 1, "owner": "", "lease_until": None, "crashes": 0}
    incomplete = MessageBatch.objects.filter(
        pk=part.pk, state=State.INCOMPLETE, stop_waiting_at=None
    )
    with transaction.atomic():
        part.hold_counted()
        if not incomplete.update(stop_waiting_at=at, due_at=at, **changes):
            raise CannotCollect("It has changed in the meantime.")
        said = f"Nobody waits for {count(missing_answers(part), 'answer')} of part {part.part}."
        part.batch.record("stop_waiting", said, actor=actor, at=at, part=part.part)
        part.refresh_from_db()
        part.batch.recount()
