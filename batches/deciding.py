"""What a person answers about a part; the page and `resolve_part` call the same verbs.

A person's word goes before that of a worker who is only looking: it takes the part out of the
worker's hands. Of two people the first is heard and the second is told.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils.text import capfirst

from batches.calling import forgive
from batches.costing import share
from batches.models import Batch, Estimate, MessageBatch, Run
from batches.words import count
from claude_api.client import check_id
from leases.models import Lease, owner_name

if TYPE_CHECKING:
    from django.contrib.auth.models import User

State = MessageBatch.State
# So long after the POST a batch may still turn up; later nothing new can.
WATCHED = timedelta(hours=48)
LONGEST_ID = 100
SENT_AGAIN = (
    "Part {part} is about to be sent again. Cancel the batch first, or wait until it is sent."
)
DROPPED = "Dropped by a person after its outcome stayed unknown."
LEFT = "It turned up at the API and was left there: what it answered is billed and not kept here."


class CannotResolve(Exception):
    """The answer does not fit the part; the sentence says why."""


def next_look(part: MessageBatch, at: datetime) -> datetime | None:
    """When the API is listed once more for a part without an answer; None once that is over."""
    if part.unknown_at is None or at >= part.unknown_at + WATCHED:
        return None
    return at + timedelta(seconds=settings.LISTING_SECONDS)


def take_over(part: MessageBatch, until: datetime | None = None) -> None:
    """Take the part, as it was read, out of the hands of whoever looks for it.

    With `until` no worker takes it back before; the caller gives it back.
    """
    as_read = MessageBatch.objects.filter(pk=part.pk, state=part.state)
    held = {"owner": owner_name() if until else "", "lease_until": until, "crashes": 0}
    if not as_read.update(fence=F("fence") + 1, **held):
        raise CannotResolve("Somebody else has decided in the meantime.")
    part.refresh_from_db()


def ask_to_adopt(
    part: MessageBatch,
    message_batch_id: str,
    at: datetime,
    actor: "User | None" = None,
    *,
    cancel: bool = False,
) -> None:
    """A person says which batch at the API is this part; a worker asks the API whether it can be.

    With `cancel` what is not answered yet is canceled there once the part is taken.
    """
    refuse_to_adopt(part, read_id(message_batch_id))
    changes: dict[str, Any] = {"adopt_id": message_batch_id, "adopt_asked_by": actor, "due_at": at}
    if part.state == State.DROPPED:
        changes["cancel_requested_at"] = at if cancel else None
    with transaction.atomic():
        part.hold_counted()
        take_over(part)
        part.mine().update(**changes)
        said = f"The API is asked whether {message_batch_id} is part {part.part}."
        part.batch.record("adopt", said, actor=actor, at=at, part=part.part)
        part.batch.recount()
    part.refresh_from_db()


def read_id(text: str) -> str:
    """An id of the API as somebody typed it; CannotResolve where it cannot be one."""
    try:
        id = check_id(text)
    except ValueError:
        id = ""
    if not id.startswith("msgbatch_") or len(id) > LONGEST_ID:
        raise CannotResolve("Type the id of a batch at the API: it begins with msgbatch_.")
    return id


def refuse_to_adopt(part: MessageBatch, message_batch_id: str) -> None:
    """Raise CannotResolve where what is known here speaks against it."""
    if part.state not in (State.UNKNOWN, State.DROPPED):
        raise CannotResolve(f"Part {part.part} is {part.state}: there is nothing to adopt for it.")
    if MessageBatch.objects.filter(message_batch_id=message_batch_id).exists():
        raise CannotResolve(f"{message_batch_id} is another part already.")
    if is_about_to_be_sent_again(part):
        raise CannotResolve(SENT_AGAIN.format(part=part.part))


def is_about_to_be_sent_again(part: MessageBatch) -> bool:
    """Whether its rows would be paid a second time although they are found."""
    if part.state == State.DROPPED and part.batch.runs.filter(state=Run.State.QUEUED).exists():
        return True
    return MessageBatch.objects.filter(replaces=part, state=State.QUEUED).exists()


def drop(part: MessageBatch, at: datetime, actor: "User | None" = None) -> None:
    """A person says that this part is not to be sent; it may still turn up, and is looked for."""
    if part.state != State.UNKNOWN:
        raise CannotResolve(f"Part {part.part} is {part.state}, not unknown.")
    with transaction.atomic():
        part.hold_counted()
        take_over(part)
        part.release_as(
            State.DROPPED,
            next_look(part, at),
            event=f"Part {part.part} was dropped: {count(part.size, 'row')} not sent.",
            actor=actor,
            adopt_id="",
            adopt_asked_by=None,
            reason=DROPPED,
        )


def send_again(part: MessageBatch, at: datetime, actor: "User | None" = None) -> Run:
    """A person says to send the same rows anew: a new part with a new nonce replaces this one."""
    if part.state not in (State.UNKNOWN, *MessageBatch.NOT_SENT):
        raise CannotResolve(f"Part {part.part} is {part.state}: it is not sent a second time.")
    if part.turned_up:
        raise CannotResolve(f"Part {part.part} turned up: say first what becomes of it.")
    try:
        with transaction.atomic():
            part.hold_counted()
            if is_sent_again(part):
                raise CannotResolve(f"Part {part.part} was sent again already.")
            # Before it is dropped: a Batch without anything to do would be said to have ended.
            run = make_run_again(part, at, actor)
            if part.state == State.UNKNOWN:
                drop(part, at, actor)
            said = f"Part {part.part} is sent again: {count(part.size, 'request')}."
            part.batch.record("run", said, actor=actor, at=at, run=run.pk)
            part.batch.recount()
            return run
    except IntegrityError:
        raise CannotResolve(
            f"Part {part.part} waits: another run of this batch is being built. Try again then."
        ) from None


def is_sent_again(part: MessageBatch) -> bool:
    """Whether a Run has taken it; one that was canceled before it was built has not."""
    runs = part.batch.runs.filter(selection__kind="part", selection__part=part.pk)
    return hasattr(part, "replaced_by") or runs.exclude(state=Run.State.REFUSED).exists()


def make_run_again(part: MessageBatch, at: datetime, actor: "User | None") -> Run:
    return Run.objects.create(
        batch_id=part.batch_id,
        # There may be another after one that was canceled.
        token=f"again-{part.pk}-{part.batch.runs.count()}",
        recipe=part.run.recipe if part.run else {},
        selection={"kind": "part", "part": part.pk},
        requested_by=actor,
        requested_at=at,
        estimate=share(part.run, part.size),
        state=Run.State.QUEUED,
        due_at=at,
    )


def leave(part: MessageBatch, at: datetime, actor: "User | None" = None) -> None:
    """A person says that a batch which turned up is to stay where it is."""
    found = part.turned_up
    if found is None:
        raise CannotResolve(f"Nothing of part {part.part} has turned up.")
    with transaction.atomic():
        part.hold_counted()
        take_over(part)
        left = [one | {"left": True} if one["ours"] else one for one in part.candidates]
        answered = {"candidates": left, "reason": LEFT, "adopt_id": "", "adopt_asked_by": None}
        part.mine().update(**answered, due_at=None)
        said = f"{found['id']} is left at the API: the answers of part {part.part} are not kept."
        part.batch.record("left", said, actor=actor, at=at, part=part.part)
        part.batch.recount()


def aside(batch: Batch) -> list[Lease]:
    """What of a Batch stopped so many workers that only a person may start it again."""
    parts = batch.message_batches.set_aside().order_by("part")
    runs = batch.runs.set_aside().filter(state=Run.State.QUEUED)
    estimates = Estimate.objects.set_aside().filter(batch=batch)
    return [*parts, *runs, *estimates]


def start_again(row: Lease, batch: Batch, at: datetime, actor: "User | None" = None) -> bool:
    """A person has looked into it: workers try what was set aside once more."""
    with transaction.atomic():
        Batch.hold(batch.pk)
        if not row.start_again(at):
            return False
        batch.record("again", f"{capfirst(str(row))} was started again.", actor=actor, at=at)
        batch.recount()
    return True


def start_all_again(batch: Batch, at: datetime, actor: "User | None" = None) -> int:
    """All of a Batch that was set aside, and the key that it is asked about with."""
    started = sum(start_again(row, batch, at, actor) for row in aside(batch))
    key = batch.workspace.live_key()
    if key is not None and key.is_set_aside:
        forgive(key)
        started += 1
    return started
