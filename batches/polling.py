"""One due ApiKey becomes one list page, and every MessageBatch on it is mirrored.

A part is looked at again after a tenth of its age, between 1 second and 5 minutes. One
listing of 1,000 mirrors them all; what is due and not on it is retrieved alone.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from batches.calling import (
    ANOTHER_ACCOUNT,
    client_for,
    remember_account,
    remember_refusal,
    set_aside,
)
from batches.models import Batch, MessageBatch
from batches.models.message_batch import MessageBatchQuerySet
from claude_api import ClaudeError, Client, NotFound
from claude_api import MessageBatch as RemoteBatch
from leases.renewing import Renewal, work_on
from workspaces.models import ApiKey

SHORTEST_LOOK = timedelta(seconds=1)
LONGEST_LOOK = timedelta(minutes=5)
# A 404 right after the create is known to pass by itself: three over ten minutes do not.
NOT_FOUND_LIMIT = 3
NOT_FOUND_SPAN = timedelta(minutes=10)
NOT_FOUND_PAUSE = timedelta(minutes=5)


def step(at: datetime, only: Batch | None = None) -> bool:
    """List for one key whose parts are due; True if there was one."""
    awake = Q(paused_until=None) | Q(paused_until__lte=at)
    live = ApiKey.objects.filter(retired_at=None)
    if only is not None:
        live = live.filter(workspace_id=only.workspace_id)
    watched = MessageBatch.objects.watched().filter(
        workspace_id=OuterRef("workspace_id"), api=OuterRef("api"), due_at__lte=at
    )
    worked = work_on(live.filter(awake, Exists(watched)), at, partial(poll, at=at))
    for key in live.set_aside().exclude(refused_type=ApiKey.SET_ASIDE):
        set_aside(key)
    return worked


def poll(key: ApiKey, renewal: Renewal, at: datetime) -> None:
    """Mirror what the API says of this key's parts; an API that refuses is left alone a while."""
    if why := key.why_unusable():
        due_parts(key, at).update(due_at=at + LONGEST_LOOK, reason=f"Not looked at: {why}")
        key.release(at)
        return
    with client_for(key) as client:
        try:
            page = client.list_batches(limit=1000)
            remember_account(key, client, at)
            parts = watched_on(page.data, key)
            learn_account(parts, key)
            mirror_all(parts, page.data, at)
            leave_to_other_keys(key, at)
            for part in due_parts(key, at):
                renewal.check()
                look_at_one(part, key, client, at)
        except ClaudeError as error:
            pause = remember_refusal(key, error, at)
            due_parts(key, at).update(due_at=at + pause, reason=f"Not looked at: {error}")
    key.release(at)


def due_parts(key: ApiKey, at: datetime) -> MessageBatchQuerySet:
    return MessageBatch.objects.watched().filter(
        workspace_id=key.workspace_id, api=key.api, due_at__lte=at
    )


def leave_to_other_keys(key: ApiKey, at: datetime) -> None:
    """A part made in another Anthropic workspace is not asked for with this key.

    The API would not know it, and a part that the API does not know is given up.
    """
    due_parts(key, at).exclude(account__in=accounts(key)).update(
        due_at=at + LONGEST_LOOK,
        reason=ANOTHER_ACCOUNT,
    )


def accounts(key: ApiKey) -> set[str]:
    """Where the parts lie that this key lists: also those sent before it was known whose it is."""
    return {key.account(), f"workspace:{key.workspace_id}"}


def watched_on(remotes: Iterable[RemoteBatch], key: ApiKey) -> list[MessageBatch]:
    """Our parts on a page: of every workspace here whose key lists the same batches."""
    ids = [remote.id for remote in remotes]
    return list(
        MessageBatch.objects.watched().filter(
            api=key.api, account__in=accounts(key), message_batch_id__in=ids
        )
    )


def learn_account(parts: list[MessageBatch], key: ApiKey) -> None:
    """What a key shows lies in its account, also where that was not known when it was sent."""
    ids = [part.pk for part in parts if part.account != key.account()]
    if ids:
        MessageBatch.objects.filter(pk__in=ids).update(account=key.account())


def mirror_all(parts: list[MessageBatch], remotes: list[RemoteBatch], at: datetime) -> None:
    by_id = {remote.id: remote for remote in remotes}
    for part in parts:
        save_mirror(part, by_id[part.message_batch_id or ""], at)


def look_at_one(part: MessageBatch, key: ApiKey, client: Client, at: datetime) -> None:
    """Retrieve a part that the page did not hold; only a 404 on this call counts against it."""
    try:
        remote = client.retrieve_batch(part.message_batch_id or "")
    except NotFound as error:
        count_not_found(part, error, at)
    else:
        learn_account([part], key)
        hint = timedelta(seconds=client.last.retry_after or 0)
        save_mirror(part, remote, at, hint)


def save_mirror(
    part: MessageBatch, remote: RemoteBatch, at: datetime, hint: timedelta = timedelta()
) -> None:
    """Write what the API says where it differs; the Batch's counters follow an end."""
    changes = MessageBatch.mirror(remote)
    ended = remote.processing_status == "ended"
    due_at = at if ended else max(next_look(remote.created_at, at), at + hint)
    known = MessageBatch.objects.watched().filter(pk=part.pk)
    if all(getattr(part, name) == value for name, value in changes.items()):
        known.update(due_at=due_at, reason="", not_found=0)
        return
    with transaction.atomic():
        part.hold_counted()
        if not known.update(due_at=due_at, reason="", not_found=0, **changes):
            return
        if ended:
            part.batch.record("ended", f"Part {part.part} has ended at the API.", part=part.part)
        part.batch.recount()


def next_look(created_at: datetime, at: datetime) -> datetime:
    # The age is measured on our clock against the API's: one may be ahead of the other.
    age = max(at - created_at, timedelta())
    return at + min(max(age / 10, SHORTEST_LOOK), LONGEST_LOOK)


def count_not_found(part: MessageBatch, error: NotFound, at: datetime) -> None:
    times = part.not_found + 1
    first = part.not_found_at if part.not_found and part.not_found_at else at
    given_up = times >= NOT_FOUND_LIMIT and first <= at - NOT_FOUND_SPAN
    MessageBatch.objects.watched().filter(pk=part.pk).update(
        not_found=times,
        not_found_at=first,
        # What is given up is collecting's next, and must not seem to be due later.
        due_at=at if given_up else at + NOT_FOUND_PAUSE,
        reason=f"The API does not know this batch (asked {times} times). {error}",
    )


def gone(at: datetime) -> Q:
    """The parts of which the API has said, often and long enough, that it does not know them."""
    return Q(not_found__gte=NOT_FOUND_LIMIT, not_found_at__lte=at - NOT_FOUND_SPAN)
