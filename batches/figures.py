"""The figures of a Batch: they add up to the rows of the file, and to what was sent. Pure."""

from typing import NamedTuple

from batches.models import Batch


class Figure(NamedTuple):
    """`number` is None where nobody knows it yet; `page` and `query` lead to the rows counted."""

    label: str
    number: int | None
    page: str = ""
    query: str = ""
    bad: bool = False


def figures(batch: Batch) -> list[Figure]:
    """What there is of each kind; what there is none of is left out."""
    return [*of_the_file(batch), *of_the_sent(batch)]


def of_the_file(batch: Batch) -> list[Figure]:
    """Rows = left out + not chosen + not sent + not written + sent."""
    terms = (
        Figure("Left out", batch.left_out, "problems"),
        Figure("Not chosen", batch.not_chosen),
        Figure("Not sent", batch.not_sent, "problems"),
        Figure("Not sent" if batch.final else "Not written yet", unwritten(batch)),
    )
    rows = Figure("Rows", batch.rows or None)
    return [rows, *(term for term in terms if term.number), Figure("Sent", batch.sent)]


def unwritten(batch: Batch) -> int:
    """Rows that no part has yet, of a Batch that has no part at all."""
    if batch.parts:
        return 0
    return max(batch.rows - batch.left_out - batch.not_sent - batch.sent, 0)


def of_the_sent(batch: Batch) -> list[Figure]:
    """Sent = succeeded + errored + canceled + expired + missing + waiting."""
    if not batch.sent:
        return []
    known = batch.answered or batch.final
    succeeded = batch.succeeded if known else None
    terms = (
        Figure("Errored", batch.errored, "results", "type=errored", bad=True),
        Figure("Canceled", batch.canceled, "results", "type=canceled"),
        Figure("Expired", batch.expired, "results", "type=expired", bad=True),
        Figure("Missing", batch.missing, "results", "type=missing", bad=True),
        Figure("Waiting", batch.waiting),
    )
    first = Figure("Succeeded", succeeded, "results" if succeeded else "", "type=succeeded")
    return [first, *(term for term in terms if term.number)]
