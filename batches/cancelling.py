"""A part that somebody cancelled is told to the API once it is there.

The wish is remembered first. A part that was not sent is dropped on the spot; one whose POST is
under way or unknown is cancelled as soon as its id is known; one that partly ran keeps its
paid answers.
"""

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import F, Q

from batches.calling import REFUSALS, client_for, key_for, remember_refusal
from batches.models import Batch, MessageBatch, Run
from batches.models.message_batch import MessageBatchQuerySet
from batches.polling import count_not_found, save_mirror
from batches.words import count
from claude_api import ApiError, ClaudeError, Client, NotFound, OutcomeUnknown, RateLimited
from claude_api import MessageBatch as RemoteBatch
from leases.renewing import Renewal, work_on

if TYPE_CHECKING:
    from django.contrib.auth.models import User

State = MessageBatch.State
NOT_BUILT = "Canceled before it was built."
NOT_SENT = "Canceled before it was sent."
# In nobody's hands, and not set aside: workers have something else to do with it now.
FREED: dict[str, Any] = {"owner": "", "lease_until": None, "crashes": 0}


def request_cancel(batch: Batch, at: datetime, actor: "User | None" = None) -> int:
    """Write down that a Batch is to be cancelled.

    Gives the number of parts that this concerns; a Run that is not built counts as one.
    """
    with transaction.atomic():
        Batch.hold(batch.pk)
        # The fence moves on, so that a builder at work can neither queue nor write any more.
        runs = batch.runs.filter(state=Run.State.QUEUED).update(
            state=Run.State.REFUSED,
            reason=NOT_BUILT,
            fence=F("fence") + 1,
            due_at=at,  # for building, to remove what it had begun
            **FREED,
        )
        parts = batch.message_batches.filter(state__in=MessageBatch.OPEN, cancel_requested_at=None)
        parts_open = parts.exclude(processing_status="ended").update(
            cancel_requested_at=at, due_at=at
        )
        wanted = batch.message_batches.filter(cancel_requested_at__isnull=False)
        drop_all(wanted.filter(state=State.QUEUED))
        # It was not canceling that crashed the workers.
        wanted.filter(state=State.SUBMITTED, cancel_initiated_at=None).set_aside().exclude(
            processing_status="ended"
        ).update(crashes=0, due_at=at)
        if parts_open:
            batch.record(
                "cancel", f"Canceled: {count(parts_open, 'part')} that had not ended.", actor=actor
            )
        if runs:
            batch.record("cancel", NOT_BUILT, actor=actor)
        batch.recount()
    return parts_open + runs


def drop_all(queued: MessageBatchQuerySet) -> None:
    """Drop what was not sent, out of the hands of whoever is about to send it."""
    dropped = list(queued)
    queued.update(state=State.DROPPED, due_at=None, reason=NOT_SENT, fence=F("fence") + 1, **FREED)
    changed: set[int] = set()
    for part in dropped:
        part.state = State.DROPPED
        changed |= part.link_answers()
    MessageBatch.objects.filter(pk__in=changed).count_again()


def step(at: datetime, only: Batch | None = None) -> bool:
    """Tell the API of one part that is to be cancelled; True if there was one.

    One that was being sent when it was cancelled, and was not created, is dropped here.
    """
    at_the_api = Q(state=State.SUBMITTED) & ~Q(processing_status="ended")
    parts = MessageBatch.objects.filter(
        at_the_api | Q(state=State.QUEUED), cancel_requested_at__isnull=False
    ).filter(cancel_initiated_at=None)
    return work_on(parts.within(only), at, partial(drop_or_cancel, at=at))


def drop_or_cancel(part: MessageBatch, renewal: Renewal, at: datetime) -> None:
    if part.state == State.QUEUED:
        drop(part)
    else:
        cancel(part, at)


def drop(part: MessageBatch) -> None:
    part.release_as(
        State.DROPPED,
        None,
        event=f"Part {part.part} was canceled before it was sent.",
        reason=NOT_SENT,
    )


def cancel(part: MessageBatch, at: datetime) -> None:
    """POST the cancel; whatever its outcome, what the API says afterwards counts."""
    key = key_for(part, at)
    if key is None:
        return
    with client_for(key) as client:
        try:
            remote = send_cancel(part, client)
        except NotFound as error:
            part.release(at)
            count_not_found(part, error, at)
        except ClaudeError as error:
            pause = remember_refusal(key, error, at)
            part.release(at + pause, reason=f"Not canceled yet: {error}")
        else:
            part.release(at)
            save_mirror(part, remote, at)


def send_cancel(part: MessageBatch, client: Client) -> RemoteBatch:
    """What the API says of the batch after it was told; it may have ended before."""
    id = part.message_batch_id or ""
    try:
        return client.cancel_batch(id)
    except (ApiError, OutcomeUnknown) as error:
        if isinstance(error, RateLimited | REFUSALS):
            raise
        remote = client.retrieve_batch(id)
        if remote.processing_status == "in_progress":
            raise error from None
        return remote
