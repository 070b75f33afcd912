"""What somebody deleted is removed piece by piece; whoever dies over it leaves it to be gone on.

Nobody sees a Batch any more from the moment that `deleting_at` is set. Of each part first the
index goes, then its files, then its row: the row says what is still there, so that nothing is
forgotten on the disk. What lies at the API is left to it: it deletes its copy after 29 days.
`deleting_at` says when there is something to do, and is moved ahead while a worker does it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F, Q, QuerySet

from batches import archive
from batches.cancelling import request_cancel
from batches.models import Batch, MessageBatch, Request, Result, Run, Upload
from batches.models.index import CHUNK
from batches.words import count
from workspaces.models import Event

if TYPE_CHECKING:
    from django.contrib.auth.models import User

HELD = timedelta(minutes=2)
PAUSE = timedelta(seconds=10)
DELETED = "deleted"


def request_delete(batch: Batch, at: datetime, actor: "User | None" = None) -> bool:
    """Hide a Batch and have it removed; False while something of it runs."""
    with transaction.atomic():
        current = Batch.objects.select_for_update().get(pk=batch.pk)
        if current.deleting_at or not (current.is_draft or current.final):
            return False
        Batch.objects.filter(pk=batch.pk).update(deleting_at=at)
        said = f"{current} was deleted"
        if current.parts:
            said += f": {count(current.sent, 'request')} in {count(current.parts, 'part')}"
        current.record(DELETED, f"{said}.", actor=actor, at=at)
    return True


def step(at: datetime, only: Batch | None = None) -> bool:
    """Remove one piece of a Batch that was deleted; True if there was one."""
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
    """Somebody pressed Send in the same moment: cancel that, and wait until it has ended."""
    open_parts = batch.message_batches.filter(state__in=MessageBatch.OPEN)
    if not (open_parts.exists() or batch.runs.filter(state=Run.State.QUEUED).exists()):
        return False
    request_cancel(batch, at)
    release(batch, at + PAUSE)
    return True


def remove_part(batch: Batch, at: datetime) -> bool:
    """The newest: an older one may be what it replaces."""
    part = batch.message_batches.order_by("-pk").first()
    if part is None:
        return False
    Result.objects.delete_part(part.pk)
    Request.objects.delete_part(part.pk)
    remove_files("message_batches", part.pk)
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
    """All but that it was deleted, and by whom."""
    story = Event.objects.filter(workspace_id=batch.workspace_id, subject=f"batch:{batch.pk}")
    told = list(story.exclude(verb=DELETED).values_list("pk", flat=True)[:CHUNK])
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
    remove_part,
    remove_run,
    remove_story,
    remove_batch,
)
