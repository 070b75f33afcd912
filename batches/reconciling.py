"""A part whose POST had no answer is found at the API, proven, or put before a person.

The API's batches carry no name of ours. What can be ours is newer than the list head that was
remembered before the POST and holds as many requests as we sent; what is ours shows our nonce
in its first result line. Until then the part stays `unknown`, and it is never sent again by
itself. One that a person gave up is looked for as long: what turns up late may be billed.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction

from batches.calling import (
    ANOTHER_ACCOUNT,
    OTHER_KEY_PAUSE,
    client_for,
    key_for,
    live_key,
    remember_account,
    remember_refusal,
    why_no_key,
)
from batches.deciding import SENT_AGAIN, WATCHED, CannotResolve, next_look, refuse_to_adopt
from batches.models import Batch, MessageBatch, Run
from batches.submitting import become_unknown, read_created, save_created
from batches.words import count
from claude_api import (
    ClaudeError,
    Client,
    InvalidRequest,
    LineTooLong,
    NotFound,
    UnreadableLine,
    read_result_line,
    split_jsonl,
)
from claude_api import MessageBatch as RemoteBatch
from leases.clock import database_now
from leases.renewing import Renewal, work_on

if TYPE_CHECKING:
    from django.contrib.auth.models import User

State = MessageBatch.State
LEAST_LISTINGS = 3
# Without a list head there is only the clock, and two clocks may differ.
CLOCK_MARGIN = timedelta(hours=1)


def step(at: datetime, only: Batch | None = None) -> bool:
    """Look after one part whose sender died or whose outcome is unknown; True if there was one.

    Of those that were dropped only such are due as may still turn up.
    """
    parts = MessageBatch.objects.filter(state__in=[State.SENDING, State.UNKNOWN, State.DROPPED])
    return work_on(parts.within(only), at, partial(reconcile, at=at))


def reconcile(part: MessageBatch, renewal: Renewal, at: datetime) -> None:
    created = read_created(part)
    if created is not None and part.state != State.DROPPED:
        save_created(part, created)
    elif part.state == State.SENDING:
        become_unknown(part, at)
    elif part.adopt_id:
        answer(part, at)
    elif created is not None:
        keep_watching(part, [describe(created.message_batch, ours=True)], at)
    else:
        look(part, at)


def look(part: MessageBatch, at: datetime) -> None:
    """List what is newer than the remembered head and judge each batch that could be ours."""
    key = key_for(part, at)
    if key is None:
        return
    with client_for(key) as client:
        try:
            remotes = list_candidates(part, client)
            remember_account(key, client, at)
            if not key.lists(part.account):
                # Its listing cannot show this part: nothing was learnt, nothing is counted.
                part.release(at + OTHER_KEY_PAUSE)
                return
            candidates = judge(part, remotes, client)
        except ClaudeError as error:
            part.release(at + remember_refusal(key, error, at))
            return
    ours = {candidate["id"] for candidate in candidates if candidate["ours"]}
    proven = [remote for remote in remotes if remote.id in ours]
    if part.state == State.DROPPED:
        keep_watching(part, candidates, at)
    elif proven:
        take(part, proven[0], "Its first result line shows that it is ours.")
    else:
        keep_looking(part, candidates, at)


def list_candidates(part: MessageBatch, client: Client) -> list[RemoteBatch]:
    """Batches of our size that are newer than the POST and that no part of ours is known by."""
    found = [
        remote for remote in list_newer(part, client) if remote.request_counts.total == part.size
    ]
    ids = [remote.id for remote in found]
    linked = MessageBatch.objects.filter(message_batch_id__in=ids)
    known = set(linked.values_list("message_batch_id", flat=True))
    return [remote for remote in found if remote.id not in known]


def list_newer(part: MessageBatch, client: Client) -> list[RemoteBatch]:
    """What was created since the POST: by the remembered head, or by the clock without one."""
    if part.list_head:
        try:
            return list(_pages_before(client, part.list_head))
        except (NotFound, InvalidRequest):
            # The head was deleted since, and with it the cursor.
            pass
    oldest = part.sent_at - CLOCK_MARGIN if part.sent_at else datetime.min.replace(tzinfo=UTC)
    return list(_pages_since(client, oldest))


def _pages_before(client: Client, cursor: str | None) -> Iterator[RemoteBatch]:
    while cursor:
        page = client.list_batches(before_id=cursor)
        yield from page.data
        cursor = page.first_id if page.has_more else None


def _pages_since(client: Client, oldest: datetime) -> Iterator[RemoteBatch]:
    cursor: str | None = None
    while True:
        page = client.list_batches(after_id=cursor)
        yield from (remote for remote in page.data if remote.created_at >= oldest)
        if not page.has_more or not page.data or page.data[-1].created_at < oldest:
            return
        cursor = page.last_id


def judge(part: MessageBatch, remotes: list[RemoteBatch], client: Client) -> list[dict[str, Any]]:
    """What is known of each candidate: its mirrored status, and once it ended whose it is."""
    foreign = {candidate["id"] for candidate in part.candidates if candidate["ours"] is False}
    return [
        describe(remote, False if remote.id in foreign else is_ours(part, remote, client))
        for remote in remotes
    ]


def describe(remote: RemoteBatch, ours: bool | None) -> dict[str, Any]:
    """A candidate, as the page shows it."""
    return {
        "id": remote.id,
        "processing_status": remote.processing_status,
        "created_at": remote.created_at.isoformat(),
        "size": remote.request_counts.total,
        "succeeded": remote.request_counts.succeeded,
        "ours": ours,
    }


def is_ours(part: MessageBatch, remote: RemoteBatch, client: Client) -> bool | None:
    """Whether the first result line shows our nonce; None while there is none that can be read.

    Of a batch that is not ours no more than this line is read, and nothing of it is kept.
    """
    if remote.processing_status != "ended":
        return None
    try:
        with client.download_results(remote.id) as chunks:
            first = next(split_jsonl(chunks), None)
        if first is None:
            return None
        return read_result_line(first).custom_id.endswith(f"_{part.nonce}")
    except (NotFound, LineTooLong, UnreadableLine):
        return None


def take(
    part: MessageBatch,
    remote: RemoteBatch,
    why: str,
    actor: "User | None" = None,
    **place: str,
) -> bool:
    """Make a batch found at the API this part's own; `place` is the api and account it lies at.

    That it is to be canceled is still remembered, and happens next.
    """
    found = part.candidates
    if part.state == State.DROPPED:
        found = [describe(remote, ours=True) | {"late": True}]
    return part.release_as(
        State.SUBMITTED,
        database_now(),
        event=f"Part {part.part} was found: {remote.id}. {why}",
        actor=actor,
        message_batch_id=remote.id,
        candidates=found,
        attempts=0,
        adopt_id="",
        adopt_asked_by=None,
        reason="",
        **place,
        **MessageBatch.mirror(remote),
    )


def keep_looking(part: MessageBatch, candidates: list[dict[str, Any]], at: datetime) -> None:
    """Not proven yet: look again later, and ask a person once looking will not help."""
    listings = part.listings + 1
    waiting_since = part.unknown_at or at
    watched = at < waiting_since + WATCHED
    undecided = [candidate for candidate in candidates if candidate["ours"] is None]
    settled = not watched or (
        not undecided
        and listings >= LEAST_LISTINGS
        and at >= waiting_since + timedelta(seconds=settings.SETTLE_SECONDS)
    )
    with transaction.atomic():
        part.hold_counted()
        if not part.release(
            next_look(part, at),
            candidates=candidates,
            listings=listings,
            settled_at=(part.settled_at or at) if settled else None,
        ):
            return
        if settled and part.settled_at is None:
            part.batch.record(
                "ask",
                f"Part {part.part} was looked for {listings:,} times: nothing "
                "at the API is known to be ours. A person decides.",
                at=at,
                part=part.part,
            )
        part.batch.recount()


def keep_watching(part: MessageBatch, candidates: list[dict[str, Any]], at: datetime) -> None:
    """Of a part that a person gave up: ask once more where it turned up after all."""
    known = {one["id"] for one in part.candidates if one["ours"]}
    left = {one["id"] for one in part.candidates if one.get("left")}
    found = [one | ({"left": True} if one["id"] in left else {}) for one in candidates]
    turned_up = next((one for one in found if one["ours"]), None)
    with transaction.atomic():
        part.hold_counted()
        again = None if turned_up else next_look(part, at)
        if not part.release(again, candidates=found, listings=part.listings + 1):
            return
        if turned_up and turned_up["id"] not in known:
            part.batch.record(
                "ask",
                f"A batch of part {part.part} turned up after all: {turned_up['id']}.",
                at=at,
                part=part.part,
            )
        part.batch.recount()


def answer(part: MessageBatch, at: datetime) -> None:
    """Ask the API whether what a person named is this part: take it, or say why it cannot be."""
    key = key_for(part, at)
    if key is None:
        return
    try:
        adopt(part, part.adopt_id, actor=part.adopt_asked_by)
    except (CannotResolve, NotFound, InvalidRequest) as why:
        refuse_adoption(part, str(why), at)
    except ClaudeError as error:
        part.release(at + remember_refusal(key, error, at))


def refuse_adoption(part: MessageBatch, why: str, at: datetime) -> None:
    part.refresh_from_db(fields=["adopt_id", "state"])
    again = next_look(part, at)
    if again is None and part.state == State.UNKNOWN and part.settled_at is None:
        # Nobody was asked about it in all that time: the look that is left does so.
        again = at
    with transaction.atomic():
        part.hold_counted()
        if part.release(again, adopt_id="", adopt_asked_by=None):
            said = f"{part.adopt_id} was not taken for part {part.part}: {why}"
            part.batch.record("not_adopted", said, at=at, part=part.part)
            part.batch.recount()


def adopt(part: MessageBatch, message_batch_id: str, actor: "User | None" = None) -> None:
    """A person says which batch at the API is this part; all that can be checked has to agree."""
    refuse_to_adopt(part, message_batch_id)
    key = live_key(part.workspace, part.api)
    if key is None:
        raise CannotResolve(why_no_key(part.workspace, part.api))
    with client_for(key) as client:
        remote = client.retrieve_batch(message_batch_id)
        remember_account(key, client, database_now())
        if not key.lists(part.account):
            raise CannotResolve(f"Part {part.part}: {ANOTHER_ACCOUNT} Save that key first.")
        refuse_another(part, remote, client)
    was_dropped = part.state == State.DROPPED
    with transaction.atomic():
        # A part that was dropped before it was sent learns only here where it lies.
        place = {"api": key.api, "account": key.account()}
        if not take(part, remote, "A person adopted it.", actor, **place):
            raise CannotResolve("Somebody else has decided in the meantime.")
        # A Run that was queued since may have chosen the same rows already.
        if was_dropped and part.batch.runs.filter(state=Run.State.QUEUED).exists():
            raise CannotResolve(SENT_AGAIN.format(part=part.part))


def refuse_another(part: MessageBatch, remote: RemoteBatch, client: Client) -> None:
    """Raise CannotResolve where the size or, once it ended, the nonce speaks against it."""
    if remote.request_counts.total != part.size:
        raise CannotResolve(
            f"{remote.id} holds {count(remote.request_counts.total, 'request')}, "
            f"part {part.part} has {part.size:,}."
        )
    if is_ours(part, remote, client) is False:
        raise CannotResolve(
            f"{remote.id} is not part {part.part}: its results carry other custom_ids."
        )
