"""What became of a Batch, in a few lines."""

from collections.abc import Iterator

from django.db.models import Count

from batches.models import Batch, Result


def summarise(batch: Batch) -> str:
    """The counts in one line, zero ones left out."""
    counts = [
        (batch.succeeded, "succeeded"),
        (batch.errored, "errored"),
        (batch.canceled, "canceled"),
        (batch.expired, "expired"),
        (batch.missing, "missing"),
        (batch.not_sent, "not sent"),
        (batch.left_out, "left out"),
    ]
    said = ", ".join(f"{number:,} {word}" for number, word in counts if number)
    return f"Batch {batch.pk} has ended: {said or 'nothing was sent'}."


def why_errored(batch: Batch) -> Iterator[str]:
    """The commonest errors of the API, with how many rows have each."""
    errored = batch.results.filter(type=Result.Type.ERRORED, retried_in=None)
    kinds = errored.values_list("error_type", "preview").annotate(number=Count("pk"))
    for kind, message, number in kinds.order_by("-number", "error_type")[:3]:
        yield f"  {number:,} errored: {kind}: {message}"
