"""What a Batch waits for a person to decide or to mend, as sentences."""

from collections.abc import Iterator
from typing import Any

import msgspec
from django.db.models import Q
from django.utils.text import capfirst

from batches.calling import ANOTHER_ACCOUNT, live_key, why_no_key
from batches.deciding import aside
from batches.models import Batch, MessageBatch, Request
from batches.words import count
from leases.models import CRASH_LIMIT, Lease
from workspaces.models import ApiKey, Event

State = MessageBatch.State
# Of each kind; a page that lists more helps nobody.
MOST = 10


class Question(msgspec.Struct, frozen=True):
    """`part` is the MessageBatch that a person decides about, 0 where there is nothing to decide.

    `turned_up` is the batch at the API that it is after all. `in_a_shell` is what to do about
    anything else there; a page has a place of its own for that.
    """

    sentence: str
    part: int = 0
    size: int = 0
    in_a_shell: str = ""
    turned_up: str = ""
    pending: str = ""
    refusal: str = ""


def questions(batch: Batch) -> Iterator[Question]:
    yield from undecided(batch)
    yield from set_aside(batch)
    yield from about_the_key(batch)


def undecided(batch: Batch) -> Iterator[Question]:
    """The parts that a person decides about; `pending` is what the API is asked about for one.

    `refusal` is why what somebody named for it was not taken.
    """
    for part in parts_to_decide(batch)[:MOST]:
        yield question_of(part)


def parts_to_decide(batch: Batch) -> list[MessageBatch]:
    """One that is set aside needs a person too, but was not looked for to the end."""
    asking = Q(state=State.UNKNOWN) | Q(state=State.DROPPED, unknown_at__isnull=False)
    parts = batch.message_batches.filter(asking, crashes__lt=CRASH_LIMIT)
    return [part for part in parts.order_by("part", "pk") if part.needs_person]


def question_of(part: MessageBatch) -> Question:
    found = part.turned_up
    if found:
        said = f"A batch of part {part.part} turned up after all: {found['id']}{billed(found)}."
    else:
        name = f"Part {part.part} ({count(part.size, 'request')}, {row_range(part)})"
        looked = f"It was looked for {part.listings:,} times."
        said = f"{name}: {part.reason} {looked} {what_was_found(part)}"
    turned_up = found["id"] if found else ""
    return Question(
        said,
        part.pk,
        part.size,
        turned_up=turned_up,
        pending=part.adopt_id,
        refusal=last_refusal(part),
    )


def billed(found: dict[str, Any]) -> str:
    answers = found.get("succeeded", 0)
    return f", its {count(answers, 'answer')} are billed" if answers > 1 else ""


def looked_for(batch: Batch) -> list[MessageBatch]:
    """Parts whose outcome is not known, while looking may still help."""
    unknown = batch.message_batches.filter(state=State.UNKNOWN, settled_at=None)
    return list(unknown.filter(crashes__lt=CRASH_LIMIT).order_by("part")[:MOST])


def what_was_found(part: MessageBatch) -> str:
    alike = [candidate["id"] for candidate in part.candidates if candidate["ours"] is None]
    if not alike:
        return "It was not found at the API."
    return f"As many requests, and no results to tell whose they are: {', '.join(alike)}."


def last_refusal(part: MessageBatch) -> str:
    """Why what a person named for a part was not taken; empty where nothing was, or is pending."""
    if part.adopt_id:
        return ""
    events = Event.objects.filter(
        workspace_id=part.workspace_id, subject=f"batch:{part.batch_id}", data__part=part.part
    )
    asked = events.filter(verb__in=["adopt", "not_adopted"]).order_by("-pk").first()
    return asked.sentence if asked and asked.verb == "not_adopted" else ""


def row_range(part: MessageBatch) -> str:
    rows = Request.objects.of(part.pk).order_by("pk")
    first, last = rows.first(), rows.last()
    return f"rows {first.row:,} to {last.row:,}" if first and last else "no rows"


def set_aside(batch: Batch) -> Iterator[Question]:
    for row in aside(batch):
        yield stopped_workers(row)


def stopped_workers(row: Lease) -> Question:
    return Question(
        f"{capfirst(str(row))} stopped {row.crashes} workers and is set aside. Look into "
        "the worker's log before you go on."
    )


def about_the_key(batch: Batch) -> Iterator[Question]:
    """Only while something waits for the key."""
    open_parts = batch.message_batches.filter(state__in=MessageBatch.OPEN)
    if not open_parts.exists():
        return
    for api in sorted(set(open_parts.values_list("api", flat=True))):
        if live_key(batch.workspace, api) is None:
            yield Question(why_no_key(batch.workspace, api))
            return
    key = batch.workspace.live_key()
    if key is None:
        return
    for number, account in open_parts.order_by("part").values_list("part", "account"):
        if not key.lists(account):
            yield Question(f"Part {number}: {ANOTHER_ACCOUNT} Save a key of that one to go on.")
            return
    if key.refused:
        yield about_refusal(key, batch)
    elif key.is_set_aside:
        yield stopped_workers(key)


def about_refusal(key: ApiKey, batch: Batch) -> Question:
    """What the API has against the key; a spend limit keeps only from sending."""
    way = f"Save a key that works: manage.py add_key {batch.workspace.slug}"
    then = ""
    if key.spend_limited:
        way = "Raise the limit"
        then = " Nothing more is sent until the limit is raised; what was sent goes on."
    elif key.is_set_aside:
        way = "Look into the worker's log"
    said = f"{key.refused.rstrip('.')}. Nothing is lost.{then}"
    return Question(said, in_a_shell=f"{way}, then: manage.py run_batch --resume {batch.pk}")
