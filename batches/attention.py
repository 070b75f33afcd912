"""What needs a person in a workspace, the most urgent first; a few of each kind."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, Q

from batches.asking import set_aside
from batches.models import Batch, MessageBatch, Upload
from batches.words import count
from leases.models import CRASH_LIMIT
from workspaces.models import Workspace

MOST = 5
KEPT_AT_THE_API = timedelta(days=29)
WARNED_BEFORE = timedelta(days=3)
DRAFTS_LOOKED_AT = 20


class Need(NamedTuple):
    """`batch` is None where it concerns the whole workspace."""

    icon: str
    sentence: str
    action: str
    batch: Batch | None = None


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
        yield Need("warning", f"{said}. Nothing is lost; work goes on when a key works.", "API key")


def undecided(workspace: Workspace) -> Iterator[Need]:
    """What a person has to look into; a key that is refused is said once, above."""
    stuck = Q(state=MessageBatch.State.UNKNOWN, settled_at__isnull=False) | Q(
        state__in=MessageBatch.OPEN, crashes__gte=CRASH_LIMIT
    )
    parts = MessageBatch.objects.filter(stuck, batch=OuterRef("pk"))
    found = Batch.objects.filter(workspace=workspace, deleting_at=None, state="needs_you")
    for batch in found.filter(Exists(parts)).order_by("-pk")[:MOST]:
        unknown = batch.message_batches.filter(state=MessageBatch.State.UNKNOWN).exclude(
            settled_at=None
        )
        numbers = list(unknown.order_by("part").values_list("part", flat=True)[:2])
        if numbers:
            said = f"part {numbers[0]:,}: we do not know whether it was created."
            yield Need("question", said, "Decide", batch)
        elif aside := next(set_aside(batch), None):
            yield Need("question", aside.sentence, "Open", batch)


def vanishing(workspace: Workspace, at: datetime) -> Iterator[Need]:
    """Results that the API deletes soon and that are not stored here."""
    states = [MessageBatch.State.SUBMITTED, MessageBatch.State.INCOMPLETE]
    parts: Any = MessageBatch.objects.filter(
        workspace=workspace,
        state__in=states,
        created_at__lt=at - KEPT_AT_THE_API + WARNED_BEFORE,
        created_at__gt=at - KEPT_AT_THE_API,
    )
    for part in parts.select_related("batch").order_by("created_at")[:MOST]:
        left = part.created_at + KEPT_AT_THE_API - at
        days = count(left.days, "day") if left.days else count(left.seconds // 3600, "hour")
        said = f"part {part.part:,}: results are deleted at the API in {days} and are not stored."
        yield Need("clock", said, "Open", part.batch)


def broken_drafts(workspace: Workspace) -> Iterator[Need]:
    drafts = Batch.objects.filter(workspace=workspace, deleting_at=None, state="draft")
    newest = drafts.select_related("upload").order_by("-pk")[:DRAFTS_LOOKED_AT]
    found = [need for draft in newest if (need := of_the_file(draft))]
    yield from found[:MOST]


def of_the_file(draft: Batch) -> Need | None:
    upload = draft.upload
    if upload is None:
        return None
    if upload.state == Upload.State.REFUSED:
        return Need("draft", "draft: the file cannot be read.", "Open", draft)
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
