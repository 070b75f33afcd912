"""What a workspace does not keep any longer is deleted, and what was given up before it was sent.

A Batch goes by the verb that a person's button has, so nothing goes that runs, is unknown or is not
collected. Its age counts from when anything last happened to it. Files without a row are another
matter: after a restored database they may be all that is left, so only `--orphans` removes them.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeVar

import msgspec
from django.db.models import Exists, Max, Model, OuterRef, Q, QuerySet

from batches import archive, receiving
from batches.deleting import request_delete
from batches.models import Batch, MessageBatch, Run, Upload
from batches.starting import discard_upload
from workspaces import retention
from workspaces.models import Workspace

EVERY = timedelta(hours=1)
# An upload that nobody goes on with, or that no batch uses.
STOPPED = timedelta(days=7)
UNUSED = timedelta(days=30)
# A directory may be written before its row is committed.
ORPHANED = timedelta(days=1)
CHUNK = 500
FINAL = (Batch.State.ENDED, Batch.State.REFUSED)
OWNERS: dict[str, type[Model]] = {
    "uploads": Upload,
    "runs": Run,
    "message_batches": MessageBatch,
}


Row = TypeVar("Row", bound=Model)


class Orphan(NamedTuple):
    """Files that no row names; `at_the_api` is the batch that was created with them, if known."""

    kind: str
    owner_id: int
    size: int
    changed_at: datetime
    at_the_api: str = ""


def step(at: datetime, only: Batch | None = None) -> bool:
    """Prune one workspace that keeps results for so many days; True if it was time to."""
    if only is not None:
        return False
    due = Q(pruned_at=None) | Q(pruned_at__lte=at - EVERY)
    keeping = Workspace.objects.filter(due, retention_days__isnull=False)
    workspace = keeping.order_by("pk").first()
    if workspace is None:
        return False
    if keeping.filter(pk=workspace.pk).update(pruned_at=at):
        retention.prune(workspace, at)
        prune_uploads(workspace, at)
    return True


def older_batches(workspace: Workspace, before: datetime) -> QuerySet[Batch]:
    """Ended ones to which nothing has happened since."""
    since = Q(ended_at__gt=before) | Q(stored_at__gt=before) | Q(sent_at__gt=before)
    part = MessageBatch.objects.filter(since, batch=OuterRef("pk"))
    run = Run.objects.filter(batch=OuterRef("pk"), requested_at__gt=before)
    ended = Batch.objects.filter(workspace=workspace, deleting_at=None, state__in=FINAL)
    ended = ended.select_related("workspace", "upload")
    return ended.filter(~Exists(part), ~Exists(run), created_at__lte=before).order_by("pk")


def older_drafts(workspace: Workspace, before: datetime) -> QuerySet[Batch]:
    """Drafts that nobody has changed since, and whose file is not arriving just now."""
    drafts = Batch.objects.filter(
        workspace=workspace, deleting_at=None, state=Batch.State.DRAFT, created_at__lte=before
    )
    arriving = Q(upload__state__in=[Upload.State.RECEIVING, Upload.State.QUEUED])
    untouched = Q(saved_at=None) | Q(saved_at__lte=before)
    drafts = drafts.select_related("workspace", "upload")
    return drafts.filter(untouched).exclude(arriving).order_by("pk")


def prune_batches(workspace: Workspace, before: datetime, at: datetime) -> int:
    """Delete ended batches that are older; how many."""
    return sum(prune_batch(batch, at) for batch in one_by_one(older_batches(workspace, before)))


def prune_drafts(workspace: Workspace, before: datetime, at: datetime) -> int:
    return sum(prune_batch(draft, at) for draft in one_by_one(older_drafts(workspace, before)))


def prune_batch(batch: Batch, at: datetime) -> bool:
    """Delete one as a person would; what a script made is left at the API."""
    ours = not batch.message_batches.filter(run=None).exists()
    kept = retention.say_days(batch.workspace.retention_days)
    return request_delete(batch, at, remote=ours, because=f"as results are kept {kept}")


def abandoned_uploads(workspace: Workspace, at: datetime) -> Iterator[Upload]:
    """Files that stopped arriving a week ago, and read ones that no batch has used for a month.

    How old they are is what the disk says of their files; without a file there is nothing to gain.
    """
    arriving = Q(state=Upload.State.RECEIVING)
    unused = Q(state__in=[Upload.State.READY, Upload.State.REFUSED], batches=None, replaced_by=None)
    for upload in one_by_one(workspace.uploads.filter(arriving | unused).order_by("pk")):
        files = archive.measure("uploads", upload.pk)
        patience = STOPPED if upload.state == Upload.State.RECEIVING else UNUSED
        if files.changed_at is not None and files.changed_at <= at - patience:
            yield upload


def prune_uploads(workspace: Workspace, at: datetime) -> int:
    return sum(prune_upload(upload, at) for upload in abandoned_uploads(workspace, at))


def prune_upload(upload: Upload, at: datetime) -> bool:
    """Remove one; a draft that was to get another file has the one before, or goes with it."""
    draft = upload.batches.first()
    if draft is None:
        discard_upload(upload)
        return not Upload.objects.filter(pk=upload.pk).exists()
    if upload.replaces is None:
        because = f"as its file stopped arriving over {STOPPED.days} days ago"
        return request_delete(draft, at, because=because)
    try:
        receiving.cancel(upload)
    except receiving.OutOfStep:
        return False  # all of it has come meanwhile
    return True


def find_orphans(at: datetime) -> Iterator[Orphan]:
    """Directories of the archive that no row names, and that nobody has written to for a day."""
    for kind, owner in OWNERS.items():
        for ids in in_chunks(archive.owners(kind)):
            known = set(owner._default_manager.filter(pk__in=ids).values_list("pk", flat=True))
            for owner_id in ids:
                if owner_id not in known and (orphan := orphan_at(kind, owner_id, at)):
                    yield orphan


def orphan_at(kind: str, owner_id: int, at: datetime) -> Orphan | None:
    files = archive.measure(kind, owner_id)
    if files.changed_at is None or files.changed_at > at - ORPHANED:
        return None
    created = created_there(owner_id) if kind == "message_batches" else ""
    return Orphan(kind, owner_id, files.size, files.changed_at, created)


def created_there(part_id: int) -> str:
    """The id at the API that the journal of a part without a row names."""
    try:
        text = archive.created(part_id).read_bytes()
        return str(msgspec.json.decode(text)["message_batch"]["id"])
    except (FileNotFoundError, msgspec.DecodeError, KeyError, TypeError):
        return ""


def remove_orphan(orphan: Orphan, at: datetime) -> bool:
    """Remove its files, unless somebody wrote them or their row meanwhile."""
    owner = OWNERS[orphan.kind]
    if owner._default_manager.filter(pk=orphan.owner_id).exists():
        return False
    if orphan_at(orphan.kind, orphan.owner_id, at) is None:
        return False
    archive.delete(orphan.kind, orphan.owner_id)
    return True


def one_by_one(rows: QuerySet[Row]) -> Iterator[Row]:
    """Rows in the order of their ids, read in pages of their own, so that each may be changed."""
    last = 0
    while page := list(rows.filter(pk__gt=last)[:CHUNK]):
        yield from page
        last = page[-1].pk


def in_chunks(ids: Iterator[int]) -> Iterator[list[int]]:
    chunk: list[int] = []
    for id in ids:
        chunk.append(id)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def files_of(batch: Batch) -> int:
    """The bytes that go with a Batch: of its parts, its runs, and a file that no other uses."""
    parts = batch.message_batches.values_list("pk", flat=True)
    runs = batch.runs.values_list("pk", flat=True)
    size = sum(archive.measure("message_batches", pk).size for pk in parts)
    size += sum(archive.measure("runs", pk).size for pk in runs)
    if batch.upload and not batch.upload.batches.exclude(pk=batch.pk).exists():
        size += archive.measure("uploads", batch.upload.pk).size
    return size


def ended_at(batch: Batch) -> datetime:
    """When anything last happened to it."""
    latest = batch.message_batches.aggregate(ended=Max("ended_at"), stored=Max("stored_at"))
    moments = [batch.saved_at, batch.created_at, *latest.values()]
    return max(moment for moment in moments if moment).astimezone(UTC)


def register() -> None:
    retention.register(
        retention.Kind(
            "batch",
            "batches",
            lambda workspace, before: older_batches(workspace, before).count(),
            prune_batches,
        )
    )
    retention.register(
        retention.Kind(
            "draft",
            "drafts",
            lambda workspace, before: older_drafts(workspace, before).count(),
            prune_drafts,
        )
    )
