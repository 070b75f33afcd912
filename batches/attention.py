"""What needs a person in a workspace, the most urgent first; a few of each kind."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from django.db.models import Exists, OuterRef, Q

from batches import waiting
from batches.asking import parts_to_decide, set_aside
from batches.models import Batch, MessageBatch, Run, Upload
from batches.words import count
from leases.models import CRASH_LIMIT
from workspaces.models import Workspace

MOST = 5
DRAFTS_LOOKED_AT = 20


class Need(NamedTuple):
    """`batch` is None where it concerns the whole workspace; `part` is the one to decide about,
    `collect` the one to collect."""

    icon: str
    sentence: str
    action: str
    batch: Batch | None = None
    part: int = 0
    collect: int = 0


def needs(workspace: Workspace, at: datetime) -> list[Need]:
    return [
        *about_the_key(workspace),
        *undecided(workspace),
        *vanishing(workspace, at),
        *broken_drafts(workspace),
    ]


def about_the_key(workspace: Workspace) -> Iterator[Need]:
    """Only while something waits for it."""
    waiting = MessageBatch.objects.filter(workspace=workspace, state__in=MessageBatch.OPEN)
    key = workspace.live_key()
    refused = key.refused if key else ""
    if (key is None or refused) and waiting.exists():
        said = refused.rstrip(".") if refused else "There is no API key"
        then = "work goes on when a key works"
        if key and key.spend_limited:
            then = "nothing more is sent until the limit is raised"
        yield Need("warning", f"{said}. Nothing is lost; {then}.", "API key")


def undecided(workspace: Workspace) -> Iterator[Need]:
    """What a person has to look into; a key that is refused is said once, above."""
    found = Batch.objects.filter(workspace=workspace, deleting_at=None, state="needs_you")
    parts = MessageBatch.objects.filter(batch=OuterRef("pk"))
    unknown = Q(state=MessageBatch.State.UNKNOWN, settled_at__isnull=False)
    dropped = Q(state=MessageBatch.State.DROPPED, unknown_at__isnull=False)
    stuck = Q(crashes__gte=CRASH_LIMIT)
    runs = Run.objects.set_aside().filter(batch=OuterRef("pk"), state=Run.State.QUEUED)
    asks = Exists(parts.filter(unknown | dropped | stuck)) | Exists(runs)
    needing = (need_of(batch) for batch in found.filter(asks).order_by("-pk")[: 4 * MOST])
    yield from islice((need for need in needing if need), MOST)


def need_of(batch: Batch) -> Need | None:
    part = next(iter(parts_to_decide(batch)), None)
    if part is not None:
        said = f"part {part.part:,}: we do not know whether it was created."
        if part.turned_up:
            said = f"part {part.part:,}: a batch of it turned up after all."
        return Need("question", said, "Decide", batch, part.pk)
    stopped = next(set_aside(batch), None)
    # It stands behind the name of the batch.
    said = stopped.sentence[0].lower() + stopped.sentence[1:] if stopped else ""
    return Need("question", said, "Open", batch) if said else None


def vanishing(workspace: Workspace, at: datetime) -> Iterator[Need]:
    """Results that the API deletes soon and that are not stored here."""
    parts = waiting.vanishing(MessageBatch.objects.filter(workspace=workspace), at)
    for part in parts.select_related("batch")[:MOST]:
        said = waiting.say_vanishing(part, at)
        yield Need("clock", said, "Collect now", part.batch, collect=part.pk)


def broken_drafts(workspace: Workspace) -> Iterator[Need]:
    drafts = Batch.objects.filter(workspace=workspace, deleting_at=None, state="draft")
    newest = drafts.select_related("upload", "estimate").order_by("-pk")[:DRAFTS_LOOKED_AT]
    found = [need for draft in newest if (need := of_the_file(draft))]
    yield from found[:MOST]


def of_the_file(draft: Batch) -> Need | None:
    upload = draft.upload
    if upload is None:
        return None
    if hasattr(draft, "estimate") and draft.estimate.is_set_aside:
        return Need("draft", "draft: checking its rows stopped several workers.", "Open", draft)
    if upload.state == Upload.State.REFUSED:
        return Need("draft", "draft: the file cannot be read.", "Open", draft)
    if upload.state == Upload.State.QUEUED and upload.is_set_aside:
        said = f"draft: reading the file stopped {count(upload.crashes, 'worker')}."
        return Need("draft", said, "Open", draft)
    if upload.problem_count and not draft.leave_out:
        said = f"draft: {count(upload.problem_count, 'problem')} in the file."
        return Need("draft", said, "Open", draft)
    return None


def running(workspace: Workspace, kept: list[int], most: int) -> list[Batch]:
    """What runs, newest first; and what ran when the page was opened stays on it."""
    still = Q(pk__in=kept) | ~Q(state__in=[Batch.State.DRAFT, *FINAL])
    found = Batch.objects.filter(still, workspace=workspace, deleting_at=None)
    return list(found.select_related("upload", "created_by").order_by("-pk")[:most])


def lately(workspace: Workspace, without: list[int], most: int) -> list[Batch]:
    found = Batch.objects.filter(workspace=workspace, deleting_at=None, state__in=FINAL)
    newest = found.exclude(pk__in=without).select_related("upload", "created_by")
    return list(newest.order_by("-pk")[:most])


FINAL = (Batch.State.ENDED, Batch.State.REFUSED)
