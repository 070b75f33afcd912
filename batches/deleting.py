"""What somebody deleted is removed piece by piece; whoever dies over it leaves it to be gone on.

Nobody sees a Batch any more from the moment that `deleting_at` is set. Where it is wanted, what
lies at the API goes first, for only our rows know its ids. Then of each part the index goes, then
its files, then its row: the row says what is still there, so that nothing is forgotten on the
disk. `deleting_at` says when there is something to do, and is moved ahead while a worker does it.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F, Min, Q, QuerySet

from batches import archive, deleting_remote
from batches.cancelling import request_cancel
from batches.models import Batch, DeletedPart, MessageBatch, Request, Result, Run, Upload
from batches.models.index import CHUNK
from batches.models.message_batch import MessageBatchQuerySet
from batches.starting import one_at_a_time
from batches.words import count
from workspaces.models import Event

if TYPE_CHECKING:
    from django.contrib.auth.models import User

State = MessageBatch.State
HELD = timedelta(minutes=2)
PAUSE = timedelta(seconds=10)
SHORT_PAUSE = timedelta(seconds=2)
# So long an API that does not delete holds up what is here.
PATIENCE = timedelta(days=7)
NAMED = 5
DELETED, LEFT_THERE = "deleted", "left_at_the_api"
logger = logging.getLogger(__name__)


class Obstacle(StrEnum):
    """What is in the way of deleting a Batch, the worst first."""

    UNKNOWN = "unknown"  # somebody has to decide about a part first
    SENDING = "sending"
    RUNNING = "running"
    UNCOLLECTED = "uncollected"  # paid answers would be lost: only who says so may


def obstacle(batch: Batch) -> Obstacle | None:
    if batch.is_draft or batch.final:
        return None
    parts = batch.message_batches
    if parts.filter(state=State.UNKNOWN).exists():
        return Obstacle.UNKNOWN
    if parts.filter(state=State.SENDING).exists():
        return Obstacle.SENDING
    at_work = parts.filter(state__in=MessageBatch.OPEN).exclude(pk__in=uncollected(batch))
    if at_work.exists() or batch.runs.filter(state=Run.State.QUEUED).exists():
        return Obstacle.RUNNING
    return Obstacle.UNCOLLECTED if uncollected(batch).exists() else Obstacle.UNKNOWN


def uncollected(batch: Batch) -> MessageBatchQuerySet:
    """The parts that have ended at the API and are not, or not wholly, here."""
    ended = Q(state=State.SUBMITTED, processing_status="ended") | Q(state=State.INCOMPLETE)
    parts: MessageBatchQuerySet = batch.message_batches.filter(ended)
    return parts


def uncollected_answers(batch: Batch) -> int:
    """How many answers of these are still to be fetched."""
    parts = uncollected(batch).values_list("size", "answers")
    return sum(size - sum(answers.values()) for size, answers in parts)


def request_delete(
    batch: Batch,
    at: datetime,
    actor: "User | None" = None,
    *,
    remote: bool = False,
    waived: int = 0,
    because: str = "",
) -> bool:
    """Hide a Batch and have it removed, with `remote` at the API too; False where it may not be.

    `waived` is the number of answers that are given up although the API still has them.
    """
    # Whoever presses Send holds the same: one of the two is first, and the other learns of it.
    with one_at_a_time(batch.workspace):
        held = Batch.objects.select_for_update(no_key=True)
        current = held.filter(pk=batch.pk, deleting_at=None).first()
        if current is None or not may_go(current, waived):
            return False
        Batch.objects.filter(pk=batch.pk).update(deleting_at=at)
        kept = deleting_remote.kept_there(current, at)
        there = kept.count() if remote or current.delete_remote else 0
        if there:
            deleting_remote.wish(current, kept, at)
        current.record(DELETED, how_it_went(current, waived, there, because), actor=actor, at=at)
    return True


def may_go(batch: Batch, waived: int) -> bool:
    found = obstacle(batch)
    if found == Obstacle.UNCOLLECTED:
        return waived > 0 and waived == uncollected_answers(batch)
    return found is None


def how_it_went(batch: Batch, waived: int, there: int, because: str) -> str:
    """#41 Themes was deleted: 5 requests in 1 part; at the API too."""
    said = f"{batch} was deleted" + (f", {because}" if because else "")
    if batch.parts:
        said += f": {count(batch.sent, 'request')} in {count(batch.parts, 'part')}"
    if waived:
        said += f"; {count(waived, 'answer')} not collected"
    return f"{said}; at the API too." if there else f"{said}."


def step(at: datetime, only: Batch | None = None) -> bool:
    """Remove one piece of a Batch that was deleted, there or here; True if there was one."""
    if deleting_remote.step(at, only):
        return True
    batches = Batch.objects.filter(deleting_at__lte=at)
    if only is not None:
        batches = batches.filter(pk=only.pk)
    batch = claim(batches, at)
    if batch is None:
        return False
    next(piece for piece in PIECES if piece(batch, at))
    return True


def claim(batches: QuerySet[Batch], at: datetime) -> Batch | None:
    """The Batch that waits longest. Two that remove the same one do each other no harm."""
    for batch in batches.order_by("deleting_at")[:4]:
        held = batches.filter(pk=batch.pk, deleting_at=batch.deleting_at)
        if held.update(deleting_at=at + HELD):
            return batch
    return None


def release(batch: Batch, due_at: datetime) -> None:
    Batch.objects.filter(pk=batch.pk).update(deleting_at=due_at)


def stop_first(batch: Batch, at: datetime) -> bool:
    """Somebody pressed Send in the same moment: cancel that, and wait until it has ended.

    What has ended and was not collected is given up: whoever deleted the Batch was asked.
    """
    open_parts = batch.message_batches.filter(state__in=MessageBatch.OPEN)
    if not (open_parts.exists() or batch.runs.filter(state=Run.State.QUEUED).exists()):
        return False
    if open_parts.filter(state=State.UNKNOWN, settled_at__isnull=False).exists():
        bring_back(batch, at)
        return True
    request_cancel(batch, at)
    for part in uncollected(batch).free(at):
        part.release_as(State.LOST, at, reason="Given up: the batch was deleted.")
    release(batch, at + PAUSE if open_parts.exists() else at)
    return True


def bring_back(batch: Batch, at: datetime) -> None:
    """A part of it may or may not be at the API, and nobody can decide about what is hidden."""
    said = "It is not deleted: a part was being sent, and its outcome is unknown. Decide first."
    with transaction.atomic():
        Batch.hold(batch.pk)
        batch.message_batches.update(delete_requested_at=None)
        Batch.objects.filter(pk=batch.pk).update(deleting_at=None, delete_remote=False)
        batch.record("not_deleted", said, at=at)


def wait_for_api(batch: Batch, at: datetime) -> bool:
    """Keep the ids until what they name is deleted at the API; not for ever."""
    if not batch.delete_remote:
        return False
    # Again, for what was sent or settled only after it was wished.
    deleting_remote.wish(batch, deleting_remote.kept_there(batch, at), at)
    left = deleting_remote.waiting(at).filter(batch=batch)
    soonest = left.aggregate(soonest=Min("due_at"))["soonest"]
    if soonest is None:
        return False
    if asked_at(batch) > at - PATIENCE:
        release(batch, max(soonest, at + SHORT_PAUSE))
    else:
        leave_there(batch, left, at)
    return True


def asked_at(batch: Batch) -> datetime:
    story = Event.objects.filter(workspace_id=batch.workspace_id, subject=f"batch:{batch.pk}")
    return story.filter(verb=DELETED).latest("pk").at


def leave_there(batch: Batch, left: MessageBatchQuerySet, at: datetime) -> None:
    """What is here goes; what could not be deleted at the API is named where that stays known."""
    ids = list(left.order_by("pk").values_list("message_batch_id", flat=True))
    until = deleting_remote.kept_until(left) or at
    named = ", ".join(ids[:NAMED]) + (" and others" if len(ids) > NAMED else "")
    said = (
        f"{count(len(ids), 'part')} of {batch} could not be deleted at the API within "
        f"{count(PATIENCE.days, 'day')}: {named}. The API deletes them by itself by "
        f"{until:%Y-%m-%d}."
    )
    logger.warning(said)
    with transaction.atomic():
        Batch.hold(batch.pk)
        batch.record(LEFT_THERE, said, at=at, message_batches=ids)
        left.update(delete_requested_at=None)
        Batch.objects.filter(pk=batch.pk).update(delete_remote=False, deleting_at=at)


def remove_part(batch: Batch, at: datetime) -> bool:
    """The newest: an older one may be what it replaces."""
    part = batch.message_batches.order_by("-pk").first()
    if part is None:
        return False
    Result.objects.delete_part(part.pk)
    Request.objects.delete_part(part.pk)
    remove_files("message_batches", part.pk)
    with transaction.atomic():
        DeletedPart.remember(part, at)
        part.delete()
    release(batch, at)
    return True


def remove_run(batch: Batch, at: datetime) -> bool:
    run = batch.runs.order_by("-pk").first()
    if run is None:
        return False
    remove_files("runs", run.pk)
    run.delete()
    release(batch, at)
    return True


def remove_story(batch: Batch, at: datetime) -> bool:
    """All but that it was deleted, by whom, and what of it is left at the API."""
    story = Event.objects.filter(workspace_id=batch.workspace_id, subject=f"batch:{batch.pk}")
    told = list(story.exclude(verb__in=[DELETED, LEFT_THERE]).values_list("pk", flat=True)[:CHUNK])
    if not told:
        return False
    Event.objects.filter(pk__in=told).delete()
    release(batch, at)
    return True


def remove_batch(batch: Batch, at: datetime) -> bool:
    """The row itself, and the uploads that no other Batch uses.

    Their files go between two transactions: many gigabytes take their time.
    """
    taken = take_files(batch, at)
    if taken is None:
        release(batch, at + PAUSE)
        return True
    for upload_id in taken:
        remove_files("uploads", upload_id)
    if not remove_rows(batch):
        release(batch, at)
    return True


@transaction.atomic
def take_files(batch: Batch, at: datetime) -> list[int] | None:
    """Put the uploads out of reach, so that no draft is made of one; None while one is read."""
    files = find_files(batch)
    if any(file.lease_until and file.lease_until > at for file in files):
        return None
    ids = [file.pk for file in files]
    Upload.objects.filter(pk__in=ids).update(state=Upload.State.DELETING, fence=F("fence") + 1)
    return ids


@transaction.atomic
def remove_rows(batch: Batch) -> bool:
    """False where another Batch let go of a file meanwhile, which is this one's to remove now."""
    files = find_files(batch)
    if any(file.state != Upload.State.DELETING for file in files):
        return False
    batch.delete()
    for file in files:
        file.delete()
    return True


def find_files(batch: Batch) -> list[Upload]:
    """Its upload, and the one that this is to replace once it has arrived."""
    wanted = Q(batches=batch) | Q(replaced_by__batches=batch)
    ids = set(Upload.objects.filter(wanted).values_list("pk", flat=True))
    files = list(Upload.objects.select_for_update().filter(pk__in=ids).order_by("-pk"))
    used = Batch.objects.filter(upload__in=ids).exclude(pk=batch.pk)
    shared = set(used.values_list("upload_id", flat=True))
    return [file for file in files if file.pk not in shared]


def remove_files(kind: str, owner_id: int) -> None:
    """Gone already is as good."""
    try:
        archive.delete(kind, owner_id)
    except FileNotFoundError:
        return


PIECES: tuple[Callable[[Batch, datetime], bool], ...] = (
    stop_first,
    wait_for_api,
    remove_part,
    remove_run,
    remove_story,
    remove_batch,
)
