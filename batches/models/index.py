"""The index over the archive: one thin row per request and per result.

A Request's id is arithmetic, `message_batch_id << 17 | position`, so that a part's rows are
one id range: inserted in chunks, deleted in chunks, never by cascade.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Any, Self

from django.db import models, transaction
from django.db.models import Q

from batches.models.batch import Batch, Run

POSITION_BITS = 17
CHUNK = 2_000


class IndexQuerySet(models.QuerySet[Any]):
    def of(self, message_batch_id: int) -> Self:
        first = message_batch_id << POSITION_BITS
        return self.filter(pk__gte=first, pk__lt=first + (1 << POSITION_BITS))

    def in_order(self, message_batch_id: int) -> Iterator[Any]:
        """One part's rows in the order of the file, read in pages of their own.

        No cursor stays open in between: on SQLite it would hold an old snapshot, from which
        no write can start.
        """
        rows, start = self.of(message_batch_id).order_by("pk"), 0
        while page := list(rows.filter(pk__gte=start)[:CHUNK]):
            yield from page
            start = page[-1].pk + 1

    def delete_part(self, message_batch_id: int, prove: Callable[[], None] = lambda: None) -> None:
        """Delete one part's rows, a chunk at a time, so that no other writer waits long.

        `prove` raises, inside each chunk's transaction, where the part is another worker's by now:
        what that one wrote must stay.
        """
        first = message_batch_id << POSITION_BITS
        last = self.of(message_batch_id).order_by("-pk").values_list("pk", flat=True).first()
        for start in range(first, (last or first - 1) + 1, CHUNK):
            with transaction.atomic():
                prove()
                chunk = self.filter(pk__gte=start, pk__lt=min(start + CHUNK, (last or 0) + 1))
                chunk._raw_delete(chunk.db)


class ResultQuerySet(IndexQuerySet):
    def counting(self, batch: Batch) -> Self:
        """The newest answer of each row; by type and row, in the order of an index."""
        return self.filter(batch=batch, retried_in=None)

    def answers_of(self, batch: Batch, rows: Collection[int]) -> Self:
        """The answers that count, of some rows; found by the index, which begins with the type."""
        types = [*Result.Type.values, *batch.concerns]
        return self.counting(batch).filter(type__in=set(types), row__in=rows)

    def mark(self, run: Run, rows: Collection[int]) -> None:
        """These rows are sent once more: their answers count no more.

        Raises where one of them counts no more already: no row is in two Runs at once.
        """
        marked = self.answers_of(run.batch, rows).update(retried_in=run)
        if marked != len(rows):
            raise ValueError(f"{run}: {marked:,} of {len(rows):,} answers were there to mark")


class Request(models.Model):
    """One row's attempt in one MessageBatch, and where its line lies in the requests file."""

    id = models.BigIntegerField(primary_key=True)
    batch = models.ForeignKey(
        Batch, models.DO_NOTHING, related_name="requests", db_constraint=False, db_index=False
    )
    row = models.PositiveIntegerField()
    own_id = models.TextField()
    offset = models.BigIntegerField()
    length = models.PositiveIntegerField()

    objects: Any = IndexQuerySet.as_manager()

    class Meta:
        indexes = [
            # for the attempts of a page of rows
            models.Index(fields=["batch", "row"], name="request_batch_row")
        ]

    def __str__(self) -> str:
        return f"row {self.row} of batch {self.batch_id}"

    @staticmethod
    def key(message_batch_id: int, position: int) -> int:
        return message_batch_id << POSITION_BITS | position

    @property
    def message_batch_id(self) -> int:
        return self.pk >> POSITION_BITS


class Result(models.Model):
    """What came back for a Request, and where its line lies in the results file."""

    class Type(models.TextChoices):
        SUCCEEDED = "succeeded", "Succeeded"
        ERRORED = "errored", "Errored"
        CANCELED = "canceled", "Canceled"
        EXPIRED = "expired", "Expired"
        MISSING = "missing", "Missing"

    request = models.OneToOneField(
        Request, models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="result"
    )
    batch = models.ForeignKey(
        Batch, models.DO_NOTHING, related_name="results", db_constraint=False, db_index=False
    )
    row = models.PositiveIntegerField()
    type = models.CharField(max_length=40)
    stop_reason = models.CharField(max_length=60, blank=True, default="")
    error_type = models.CharField(max_length=60, blank=True, default="")
    # Why a person should look at it (see batches/concerns.py); null where nobody needs to.
    concern = models.CharField(max_length=60, null=True, blank=True)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    cache_read_tokens = models.PositiveIntegerField(default=0)
    cache_write_5m_tokens = models.PositiveIntegerField(default=0)
    cache_write_1h_tokens = models.PositiveIntegerField(default=0)
    cost = models.DecimalField(max_digits=14, decimal_places=8, null=True, blank=True)
    preview = models.TextField(blank=True, default="")
    offset = models.BigIntegerField(default=0)
    length = models.PositiveIntegerField(default=0)
    retried_in = models.ForeignKey(
        Run, models.DO_NOTHING, null=True, blank=True, db_constraint=False, related_name="+"
    )

    objects: Any = ResultQuerySet.as_manager()

    class Meta:
        indexes = [
            # for a page of results by type, and for the counters of a Batch
            models.Index(
                fields=["batch", "type", "row"],
                condition=Q(retried_in=None),
                name="result_batch_type_row",
            ),
            # for a page of results by error or stop reason: few rows, however many there are
            models.Index(
                fields=["batch", "concern", "row"],
                condition=Q(retried_in=None, concern__isnull=False),
                name="result_batch_concern_row",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type}, row {self.row} of batch {self.batch_id}"


def link_rows(batch_id: int, rows: list[int], runs: dict[int, int]) -> set[int]:
    """Let of all answers to each row the one of its newest attempt count.

    `runs` names the Run of each part that was sent; an answer is marked with the Run of the
    attempt that follows its own. Gives the parts of the answers that this has changed.
    """
    asked = Request.objects.filter(batch_id=batch_id, row__in=rows).order_by("-pk")
    following: dict[int, int] = {}
    wanted: dict[int, int | None] = {}
    for pk, row in asked.values_list("pk", "row"):
        if (part := pk >> POSITION_BITS) in runs:
            wanted[pk] = following.get(row)
            following[row] = runs[part]
    marked = Result.objects.filter(pk__in=list(wanted)).values_list("pk", "retried_in_id")
    changes: dict[int | None, list[int]] = {}
    for pk, run in marked:
        if run != wanted[pk]:
            changes.setdefault(wanted[pk], []).append(pk)
    for new, ids in changes.items():
        Result.objects.filter(pk__in=ids).update(retried_in=new)
    return {pk >> POSITION_BITS for ids in changes.values() for pk in ids}
