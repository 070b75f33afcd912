"""What lies at the API is deleted there, for whoever does not want it kept for 29 days.

The wish is written down first: `Batch.delete_remote`, and `delete_requested_at` on each part that
it concerns. `deleted_at` says that it is done, and is written before anything here goes. A DELETE
is repeated until the API says that it does not know the batch, or has deleted it by itself.
"""

import logging
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Max

from batches.calling import (
    ANOTHER_ACCOUNT,
    client_for,
    live_key,
    remember_account,
    remember_refusal,
    why_no_key,
)
from batches.collecting import RESULTS_KEPT
from batches.models import Batch, MessageBatch
from batches.models.message_batch import MessageBatchQuerySet
from batches.words import count
from claude_api import ClaudeError, Client, InvalidRequest, NotFound, OutcomeUnknown
from leases.renewing import Renewal, work_on
from workspaces.models import ApiKey

if TYPE_CHECKING:
    from django.contrib.auth.models import User

State = MessageBatch.State
# Nothing more is fetched of these.
SETTLED = (State.STORED, State.LOST)
NO_KEY_PAUSE = timedelta(minutes=5)
RUNNING_PAUSE = timedelta(seconds=30)
logger = logging.getLogger(__name__)


class StillRunning(Exception):
    """The API deletes only what has ended; the sentence says what was done about it."""


def kept_there(batch: Batch, at: datetime) -> MessageBatchQuerySet:
    """The parts that the API still keeps, as far as can be known without asking."""
    return at_the_api(at).filter(batch=batch)


def at_the_api(at: datetime) -> MessageBatchQuerySet:
    """All that were created there, without what is deleted or too old."""
    kept: MessageBatchQuerySet = MessageBatch.objects.filter(
        deleted_at=None, message_batch_id__isnull=False, created_at__gt=at - RESULTS_KEPT
    )
    return kept


def kept_until(parts: MessageBatchQuerySet) -> datetime | None:
    """When the API deletes the last of them by itself."""
    newest: datetime | None = parts.aggregate(newest=Max("created_at"))["newest"]
    return newest + RESULTS_KEPT if newest else None


def waiting(at: datetime) -> MessageBatchQuerySet:
    """The parts that are to be deleted at the API and are not yet."""
    return at_the_api(at).filter(state__in=SETTLED, delete_requested_at__isnull=False)


def request_delete_remote(batch: Batch, at: datetime, actor: "User | None" = None) -> int:
    """Have the API's copy of an ended Batch deleted, and keep ours; how many parts that are."""
    with transaction.atomic():
        held = Batch.objects.select_for_update(no_key=True)
        current = held.filter(pk=batch.pk, deleting_at=None).first()
        if current is None or not current.final:
            return 0
        # What somebody wants collected once more is not settled, and waits for another wish.
        settled = kept_there(current, at).filter(state__in=SETTLED, due_at=None)
        parts = wish(current, settled, at)
        if parts:
            said = f"What the API keeps of {count(parts, 'part')} is to be deleted there."
            current.record("delete_remote", said, actor=actor, at=at)
    return parts


def wish(batch: Batch, parts: MessageBatchQuerySet, at: datetime) -> int:
    """Write down that these parts of a locked Batch are to be deleted at the API; how many."""
    wished = parts.filter(delete_requested_at=None).update(delete_requested_at=at, attempts=0)
    # One that is not settled yet is due for what settles it.
    parts.filter(state__in=SETTLED, due_at=None).update(due_at=at, crashes=0, reason="")
    if wished:
        Batch.objects.filter(pk=batch.pk).update(delete_remote=True)
    return wished


def step(at: datetime, only: Batch | None = None) -> bool:
    """Delete one part at the API; True if there was one."""
    return work_on(waiting(at).within(only), at, partial(delete_part, at=at))


def delete_part(part: MessageBatch, renewal: Renewal, at: datetime) -> None:
    key = live_key(part.workspace, part.api)
    if key is None:
        postpone(part, at + NO_KEY_PAUSE, why_no_key(part.workspace, part.api))
    elif part.account != key.account():
        # To another account's key the API would say that it does not know the batch.
        postpone(part, at + NO_KEY_PAUSE, ANOTHER_ACCOUNT)
    elif key.paused(at):
        postpone(part, key.paused_until or at, key.refused)
    else:
        delete_with(key, part, renewal, at)


def delete_with(key: ApiKey, part: MessageBatch, renewal: Renewal, at: datetime) -> None:
    with client_for(key) as client:
        renewal.check()
        try:
            said = delete_there(part, client)
            remember_account(key, client, at)
        except StillRunning as running:
            postpone(part, at + RUNNING_PAUSE, str(running))
        except ClaudeError as error:
            pause = remember_refusal(key, error, at, part.attempts)
            postpone(part, at + pause, str(error))
        else:
            finish(part, said, at)


def delete_there(part: MessageBatch, client: Client) -> str:
    """Delete at the API; the sentence that says what became of it."""
    id = part.message_batch_id or ""
    try:
        client.delete_batch(id)
    except NotFound as error:
        refuse_unshaped(error)
        return f"Part {part.part} was not at the API any more: {id}."
    except OutcomeUnknown:
        look_whether_gone(id, client)
    except InvalidRequest as error:
        cancel_if_running(id, client)
        raise error
    return f"Part {part.part} was deleted at the API: {id}."


def refuse_unshaped(error: NotFound) -> None:
    """A proxy's 404 says nothing of what the API knows."""
    if not error.shaped:
        raise error


def look_whether_gone(id: str, client: Client) -> None:
    """After a DELETE without an answer; raises OutcomeUnknown while the batch is there."""
    try:
        client.retrieve_batch(id)
    except NotFound as error:
        refuse_unshaped(error)
    else:
        raise OutcomeUnknown("The API was asked to delete it, and has it still.")


def cancel_if_running(id: str, client: Client) -> None:
    remote = client.retrieve_batch(id)
    if remote.processing_status == "ended":
        return
    if remote.cancel_initiated_at is None:
        client.cancel_batch(id)
    raise StillRunning("It still runs at the API: it is canceled there, and deleted once it ended.")


def postpone(part: MessageBatch, due_at: datetime, why: str) -> None:
    reason = f"Not deleted at the API yet: {why}" if why else part.reason
    if reason != part.reason:
        logger.warning("%s, %s: %s", part, part.message_batch_id, reason)
    part.release(due_at, attempts=part.attempts + 1, reason=reason)


def finish(part: MessageBatch, said: str, at: datetime) -> None:
    with transaction.atomic():
        part.hold_counted()
        if not part.release(None, deleted_at=at, reason=""):
            return
        part.batch.record("deleted_remote", said, at=at, part=part.part)
        if not waiting(at).filter(batch=part.batch_id).exists():
            # A Batch that goes itself keeps the wish, for what is not settled yet.
            Batch.objects.filter(pk=part.batch_id, deleting_at=None).update(delete_remote=False)
