"""What a Batch waits for a person to decide or to mend, as sentences."""

from collections.abc import Iterator

import msgspec
from django.utils.text import capfirst

from batches.calling import ANOTHER_ACCOUNT, live_key, why_no_key
from batches.models import Batch, MessageBatch, Request
from batches.words import count
from leases.models import CRASH_LIMIT, Lease


class Question(msgspec.Struct, frozen=True):
    """`part` is the MessageBatch that the question is about, 0 where it is the key.

    `in_a_shell` is what to do about the key there; a page has a place of its own for that.
    """

    sentence: str
    part: int = 0
    size: int = 0
    in_a_shell: str = ""


def questions(batch: Batch) -> Iterator[Question]:
    yield from unknown_parts(batch)
    yield from set_aside(batch)
    yield from about_the_key(batch)


def unknown_parts(batch: Batch) -> Iterator[Question]:
    for part in batch.message_batches.filter(state=MessageBatch.State.UNKNOWN).order_by("part"):
        # One that is set aside needs a person too, but was not looked for to the end.
        if part.settled_at is not None:
            yield Question(
                f"Part {part.part} ({count(part.size, 'request')}, {row_range(part)}): "
                f"{part.reason} It was looked for {part.listings:,} times. {what_was_found(part)}",
                part=part.pk,
                size=part.size,
            )


def what_was_found(part: MessageBatch) -> str:
    alike = [candidate["id"] for candidate in part.candidates if candidate["ours"] is None]
    if not alike:
        return "It is not at the API."
    return f"As many requests, and no results to tell whose they are: {', '.join(alike)}."


def row_range(part: MessageBatch) -> str:
    rows = Request.objects.of(part.pk).order_by("pk")
    first, last = rows.first(), rows.last()
    return f"rows {first.row:,} to {last.row:,}" if first and last else "no rows"


def set_aside(batch: Batch) -> Iterator[Question]:
    for row in [*batch.message_batches.set_aside(), *batch.runs.set_aside()]:
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
    if key.crashes >= CRASH_LIMIT:
        yield stopped_workers(key)
    if key.refused:
        way = (
            "Raise the limit"
            if key.spend_limited
            else f"Save a key that works: manage.py add_key {batch.workspace.slug}"
        )
        go_on = f"manage.py run_batch --resume {batch.pk}"
        yield Question(
            f"{key.refused.rstrip('.')}. Nothing is lost.", in_a_shell=f"{way}, then: {go_on}"
        )
