"""Batches that scripts made with the same key are listed, and adopted as Batches of their own.

What a part of any workspace here has, or may turn out to have, is not on the list; what shows the
ids of a part of ours, which a database restored from an older day does not know to be sent, is
offered as that part. A listing is asked for by a person and made by a worker.
"""

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Self
from zoneinfo import ZoneInfo

import msgspec
from django.db import IntegrityError, transaction
from django.db.models import Q

from batches.calling import (
    REFUSALS,
    client_for,
    live_key,
    remember_account,
    remember_refusal,
    why_no_key,
)
from batches.collecting import RESULTS_KEPT
from batches.deciding import CannotResolve, ask_to_adopt, take_over
from batches.models import Batch, DeletedPart, Listing, Match, MessageBatch
from batches.models.index import POSITION_BITS
from batches.reconciling import CLOCK_MARGIN
from batches.submitting import read_created
from batches.words import count
from claude_api import (
    ClaudeError,
    Client,
    InvalidRequest,
    LineTooLong,
    NotFound,
    UnreadableLine,
    read_essentials,
    split_jsonl,
)
from claude_api import MessageBatch as RemoteBatch
from leases.renewing import Renewal, work_on
from workspaces.models import ApiKey, Workspace

if TYPE_CHECKING:
    from django.contrib.auth.models import User

State = MessageBatch.State
# So many are shown; what is older is found once these are adopted or over their 29 days.
MOST_FOUND = 2_000
MOST_SEEN = 20_000
# So many first result lines are read, and only where a part of ours has as many requests.
MOST_LOOKS = 100
FINAL = REFUSALS | InvalidRequest | NotFound
UNANSWERED = (State.SENDING, State.UNKNOWN)
# What a database of an older day may hold although it was sent since.
PERHAPS_SENT = (State.BUILDING, State.QUEUED, State.DROPPED)


class Found(msgspec.Struct, frozen=True):
    """A batch at the API, as the page shows it; `part` is the MessageBatch here that it is."""

    id: str
    processing_status: str
    size: int
    succeeded: int
    errored: int
    canceled: int
    expired: int
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None
    archived_at: datetime | None = None
    part: int = 0

    @classmethod
    def of(cls, remote: RemoteBatch, part: int = 0) -> Self:
        counts = remote.request_counts
        return cls(
            remote.id,
            remote.processing_status,
            counts.total,
            counts.succeeded,
            counts.errored,
            counts.canceled,
            counts.expired,
            remote.created_at,
            remote.expires_at,
            remote.ended_at,
            remote.archived_at,
            part,
        )

    @property
    def ended(self) -> bool:
        return self.processing_status == "ended"

    @property
    def not_succeeded(self) -> int:
        return self.errored + self.canceled + self.expired

    @property
    def kept_until(self) -> datetime:
        return self.created_at + RESULTS_KEPT

    def why_not(self) -> str:
        """What keeps it from being adopted; empty where nothing does."""
        if self.archived_at:
            return "Its results are deleted."
        if not 0 < self.size < 1 << POSITION_BITS:
            return f"It holds {count(self.size, 'request')}."
        return ""


def found_in(listing: Listing) -> list[Found]:
    return msgspec.convert(listing.found, list[Found])


def step(at: datetime, only: Batch | None = None) -> bool:
    """List what one workspace's key sees; True if somebody had asked."""
    if only is not None:
        return False
    return look_at(Listing.objects.all(), at)


def look_at(listings: Any, at: datetime) -> bool:
    asked = listings.filter(state=Listing.State.LISTING)
    return work_on(asked, at, partial(look, at=at))


def look(listing: Listing, renewal: Renewal, at: datetime) -> None:
    key = live_key(listing.workspace)
    if key is None:
        refuse(listing, why_no_key(listing.workspace), at)
        return
    if key.paused_until and key.paused(at):
        why = key.refused or "The API asked to be left alone for a while."
        listing.release(key.paused_until, reason=why)
        return
    with client_for(key) as client:
        try:
            sieve = Sieve(listing.workspace, key, client)
            more = list_all(listing, sieve, renewal, at)
        except ClaudeError as error:
            pause = remember_refusal(key, error, at)
            if isinstance(error, FINAL):
                refuse(listing, str(error), at)
            else:
                listing.release(at + pause, seen=0, reason=f"Not listed yet: {error}")
            return
    listing.release(
        None,
        state=Listing.State.DONE,
        listed_at=at,
        api=key.api,
        account=key.account(),
        found=msgspec.to_builtins(sieve.found),
        looked_for=sorted(sieve.looked_for),
        more=more,
        reason="",
    )


def refuse(listing: Listing, why: str, at: datetime) -> None:
    listing.release(None, state=Listing.State.REFUSED, reason=why, listed_at=at)


def list_all(listing: Listing, sieve: "Sieve", renewal: Renewal, at: datetime) -> bool:
    """Every page of the last 29 days; True where there are more than can be shown."""
    cursor: str | None = None
    seen, oldest = 0, at - RESULTS_KEPT
    while True:
        page = sieve.client.list_batches(after_id=cursor)
        if cursor is None:
            remember_account(sieve.key, sieve.client, at)
        sieve.take([remote for remote in page.data if remote.created_at > oldest])
        seen += len(page.data)
        renewal.check()
        listing.mine().update(seen=seen)
        if not page.has_more or not page.data or page.data[-1].created_at <= oldest:
            return len(sieve.found) > MOST_FOUND
        if len(sieve.found) >= MOST_FOUND or seen >= MOST_SEEN or page.last_id == cursor:
            return True
        cursor = page.last_id


class Sieve:
    """Keeps of what the API lists what no part of any workspace here has or may have."""

    def __init__(self, workspace: Workspace, key: ApiKey, client: Client) -> None:
        self.workspace, self.key, self.client = workspace, key, client
        self.found: list[Found] = []
        self.looked_for: set[int] = set()
        self._looks = 0

    def take(self, remotes: list[RemoteBatch]) -> None:
        owned = Owners(self.key, remotes)
        perhaps = parts_of_size(self.key, remotes)
        for remote in remotes:
            owners = owned.of(remote)
            if owners is not None:
                self.looked_for |= {
                    part.pk for part in owners if part.workspace_id == self.workspace.pk
                }
                continue
            part = self._find_part(remote, perhaps.get(remote.request_counts.total, []))
            if part is None or part.workspace_id == self.workspace.pk:
                self.found.append(Found.of(remote, part.pk if part else 0))
        del self.found[MOST_FOUND + 1 :]

    def _find_part(self, remote: RemoteBatch, parts: list[MessageBatch]) -> MessageBatch | None:
        """The part of ours that the journal, or the first result line, shows this to be."""
        if not parts:
            return None
        for part in parts:
            created = read_created(part)
            if created is not None and created.message_batch.id == remote.id:
                return part
        if remote.processing_status != "ended" or self._looks >= MOST_LOOKS:
            return None
        self._looks += 1
        nonce = first_id(remote, self.client).partition("_")[2]
        return next((part for part in parts if part.nonce == nonce), None)


class Owners:
    """Which parts here have, or may have, the batches of a page."""

    def __init__(self, key: ApiKey, remotes: list[RemoteBatch]) -> None:
        ids = [remote.id for remote in remotes]
        known = MessageBatch.objects.filter(message_batch_id__in=ids)
        self._known = set(known.values_list("message_batch_id", flat=True))
        self._known |= DeletedPart.hidden_from(key.workspace_id, ids)
        asking = Q(state__in=UNANSWERED) | Q(state=State.DROPPED, unknown_at__isnull=False)
        unanswered = MessageBatch.objects.filter(asking, api=key.api)
        self._unanswered = [part for part in unanswered if key.lists(part.account)]

    def of(self, remote: RemoteBatch) -> list[MessageBatch] | None:
        """None: nobody's; a list of those that look for it, which is empty where one has it."""
        if remote.id in self._known:
            return []
        return [part for part in self._unanswered if may_be(part, remote)] or None


def may_be(part: MessageBatch, remote: RemoteBatch) -> bool:
    """Whether an unanswered part may be this batch; of one that was given up what turned up."""
    named = {one["id"]: one["ours"] for one in part.candidates}
    if part.adopt_id == remote.id or named.get(remote.id):
        return True
    if part.state == State.DROPPED or named.get(remote.id) is False:
        return False
    young = part.sent_at is None or remote.created_at >= part.sent_at - CLOCK_MARGIN
    return young and remote.request_counts.total == part.size


def parts_of_size(key: ApiKey, remotes: list[RemoteBatch]) -> dict[int, list[MessageBatch]]:
    """By size, the parts that hold as many requests as one of these and have no id."""
    sizes = {remote.request_counts.total for remote in remotes}
    parts = MessageBatch.objects.filter(state__in=PERHAPS_SENT, size__in=sizes)
    found: dict[int, list[MessageBatch]] = {}
    for part in parts.filter(api__in=["", key.api]).order_by("-pk")[:MOST_FOUND]:
        if key.lists(part.account):
            found.setdefault(part.size, []).append(part)
    return found


def first_id(remote: RemoteBatch, client: Client) -> str:
    """The custom_id of the first result line; empty where none can be read."""
    try:
        with client.download_results(remote.id) as chunks:
            first = next(split_jsonl(chunks), None)
        return read_essentials(first)[0] if first else ""
    except (NotFound, LineTooLong, UnreadableLine):
        return ""


def adopt(workspace: Workspace, id: str, at: datetime, actor: "User | None" = None) -> Batch:
    """Make a listed batch one of this workspace, or the part of ours that it is.

    Raises CannotResolve with why not. Of two people who press at once one is told.
    """
    listing = Listing.objects.filter(workspace=workspace, state=Listing.State.DONE).first()
    found = next((one for one in found_in(listing) if one.id == id), None) if listing else None
    if listing is None or found is None:
        raise CannotResolve(f"{id} is not on the list any more. Look at the API again.")
    if why := found.why_not():
        raise CannotResolve(f"{id} cannot be adopted. {why}")
    key = live_key(workspace)
    if key is None:
        raise CannotResolve(why_no_key(workspace))
    if (key.api, key.account()) != (listing.api, listing.account):
        raise CannotResolve("The list was made with another key. Look at the API again.")
    if found.part:
        return adopt_as_part(found, at, actor)
    return adopt_as_new(workspace, key, found, at, actor)


def adopt_as_part(found: Found, at: datetime, actor: "User | None" = None) -> Batch:
    """Let a worker ask the API whether it is the part; one that waits to be sent waits no more."""
    part = MessageBatch.objects.select_related("batch").filter(pk=found.part).first()
    if part is None:
        raise CannotResolve(f"The part that {found.id} was is deleted. Look at the API again.")
    if part.state == State.BUILDING:
        raise CannotResolve(f"{part} is still being built. Adopt it once that is done.")
    with transaction.atomic():
        part.hold_counted()
        if part.state == State.QUEUED:
            why = f"{found.id} at the API shows its ids."
            take_over(part)
            said = f"Part {part.part} is not sent: {why}"
            part.release_as(State.DROPPED, None, event=said, actor=actor, reason=why)
        ask_to_adopt(part, found.id, at, actor)
    return part.batch


def adopt_as_new(
    workspace: Workspace, key: ApiKey, found: Found, at: datetime, actor: "User | None" = None
) -> Batch:
    try:
        with transaction.atomic():
            refuse_owned(key, found)
            return make_batch(workspace, key, found, at, actor)
    except IntegrityError:
        raise CannotResolve(f"{found.id} was adopted already.") from None


def refuse_owned(key: ApiKey, found: Found) -> None:
    """Since it was listed a part here may have been found to have it, or to look for it."""
    if MessageBatch.objects.filter(message_batch_id=found.id).exists():
        raise CannotResolve(f"{found.id} was adopted already.")
    if DeletedPart.hidden_from(key.workspace_id, [found.id]):
        raise CannotResolve(f"{found.id} is not on the list any more. Look at the API again.")
    for part in MessageBatch.objects.filter(api=key.api, state__in=UNANSWERED, size=found.size):
        young = part.sent_at is None or found.created_at >= part.sent_at - CLOCK_MARGIN
        if young and key.lists(part.account):
            raise CannotResolve(f"{found.id} may be a part that is being looked for. Try later.")


def make_batch(
    workspace: Workspace, key: ApiKey, found: Found, at: datetime, actor: "User | None"
) -> Batch:
    batch = Batch.objects.create(
        workspace=workspace,
        name=name_of(found, workspace),
        created_by=actor,
        rows=found.size,
        state=Batch.State.IN_PROGRESS,
    )
    MessageBatch.objects.create(
        workspace=workspace,
        batch=batch,
        part=1,
        state=State.SUBMITTED,
        api=key.api,
        account=key.account(),
        size=found.size,
        due_at=at,
        message_batch_id=found.id,
        **mirrored(found),
    )
    Match.objects.create(batch=batch, due_at=at)
    said = f"{found.id} was adopted: {count(found.size, 'request')}, made elsewhere."
    batch.record("adopted", said, actor=actor, at=at)
    batch.recount()
    return batch


def mirrored(found: Found) -> dict[str, Any]:
    names = ("processing_status", "succeeded", "errored", "canceled", "expired")
    times = ("created_at", "expires_at", "ended_at", "archived_at")
    counted = found.succeeded + found.errored + found.canceled + found.expired
    said = {name: getattr(found, name) for name in (*names, *times)}
    return said | {"processing": found.size - counted}


def name_of(found: Found, workspace: Workspace) -> str:
    made = found.created_at.astimezone(ZoneInfo(workspace.timezone or "UTC"))
    return f"Made elsewhere, {made:%Y-%m-%d %H:%M}"


def parts_by_id(found: list[Found]) -> dict[int, MessageBatch]:
    """The parts that some of them are, for what a page says of them."""
    ids = [one.part for one in found if one.part]
    return MessageBatch.objects.select_related("batch").in_bulk(ids)


def not_adopted(listing: Listing) -> Iterator[Found]:
    """What is still nobody's: without what was adopted since it was listed."""
    found = found_in(listing)
    ids = [one.id for one in found]
    known = MessageBatch.objects.filter(message_batch_id__in=ids)
    taken = set(known.values_list("message_batch_id", flat=True))
    yield from (one for one in found if one.id not in taken)
