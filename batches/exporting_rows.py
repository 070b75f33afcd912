"""What came of every row of an upload, in the order of the file, in memory that does not grow.

A page of rows is joined with its attempts in two queries; an answer is read from its part's
results file where it lies, for results come in any order.
"""

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from enum import StrEnum
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from batches import archive
from batches.models import Batch, MessageBatch, Request, Run, Upload
from batches.models.index import POSITION_BITS
from batches.planning import Selection
from claude_api import Answer, UnreadableLine, read_answer

PAGE = 2_000  # rows
PAGE_WEIGHT = 4 << 20  # characters of cells, where rows are long
MOST_OPEN = 64
OF_RESULT = ("type", "offset", "length", "concern")


class Ours(StrEnum):
    """What a row can be where the API has said nothing of it."""

    LEFT_OUT = "left_out"
    NOT_CHOSEN = "not_chosen"
    NOT_SENT = "not_sent"
    WAITING = "waiting"
    MISSING = "missing"
    UNREADABLE = "unreadable"


class Outcome(msgspec.Struct, frozen=True):
    """`type` is the API's where there is an answer, else one of Ours with its reason.

    `line` is the API's line as received, `answer` what it says, `concern` why a person should
    look at it.
    """

    row: archive.Row
    own_id: str
    type: str
    reason: str = ""
    answer: Answer | None = None
    line: bytes = b""
    concern: str = ""


class Attempt(NamedTuple):
    """A row's newest request, and the type and place of its result; no type: none yet."""

    part: MessageBatch
    own_id: str
    type: str | None
    offset: int
    length: int
    concern: str


class ResultFiles:
    """Open results files; the one that was read longest ago makes room."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[int, int], int] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def read(self, part_id: int, fence: int, offset: int, length: int) -> bytes:
        key = part_id, fence
        if key not in self._open:
            if len(self._open) == MOST_OPEN:
                os.close(self._open.popitem(last=False)[1])
            self._open[key] = os.open(archive.results(part_id, fence), os.O_RDONLY)
        self._open.move_to_end(key)
        return os.pread(self._open[key], length, offset)


class LeftOutReasons:
    """Why the newest Run that was built left rows out; asked in the order of the rows.

    The first that is asked for is looked up, those that follow are read on to.
    """

    def __init__(self, batch: Batch) -> None:
        self._run = run = batch.runs.exclude(left_out_fence=None).order_by("-pk").first()
        self._path = archive.left_out(run.pk, run.left_out_fence or 0) if run else None
        self._is_gone = self._path is not None and not self._path.exists()
        self._rows: Iterator[archive.LeftOut] | None = None
        self._next: archive.LeftOut | None = None

    def find(self, number: int) -> str:
        if self._run is None or self._path is None:
            return ""
        if self._is_gone:
            return f"Not sent by the last run; the file that says why is gone ({self._path.name})."
        if self._rows is None:
            self._rows = archive.iterate_left_out(self._run.pk, self._run.left_out_fence, number)
            self._next = next(self._rows, None)
        while self._next and self._next.number < number:
            self._next = next(self._rows, None)
        return self._next.reason if self._next and self._next.number == number else ""


def iterate_outcomes(batch: Batch, upload: Upload) -> Iterator[Outcome]:
    """One Outcome for every row of the upload, in its order."""
    judge = Judge(batch, upload)
    with ResultFiles() as files:
        for page in pages(rows_of(batch, upload)):
            yield from judge.outcomes(page, files)


def rows_of(batch: Batch, upload: Upload) -> Iterator[archive.Row]:
    """The rows of the file; of an adopted Batch without one those that were answered."""
    if upload.pk is not None:
        yield from archive.iterate_rows(upload.pk, upload.rows_fence or 0)
        return
    last = -1
    found = Request.objects.filter(batch=batch).order_by("row")
    while page := list(found.filter(row__gt=last).values_list("row", "own_id")[:PAGE]):
        for number, own_id in page:
            yield archive.Row(number, own_id=own_id)
        last = page[-1][0]


def pages(rows: Iterable[archive.Row]) -> Iterator[list[archive.Row]]:
    """Rows without their params, by the page."""
    page: list[archive.Row] = []
    weight = 0
    for row in rows:
        page.append(archive.Row(row.number, row.reason, row.own_id, row.cells))
        weight += sum(map(len, row.cells))
        if len(page) == PAGE or weight >= PAGE_WEIGHT:
            yield page
            page, weight = [], 0
    if page:
        yield page


class Judge:
    """Says of each row what came of it."""

    def __init__(self, batch: Batch, upload: Upload) -> None:
        self.batch = batch
        self._is_table = upload.kind == Upload.Kind.TABLE
        id_column = batch.recipe.get("id_column", "")
        self._id_place = upload.columns.index(id_column) if id_column in upload.columns else None
        self._left_out = LeftOutReasons(batch)
        self._run = newest_run_of_every_row(batch)
        self._is_adopted = batch.is_adopted

    def outcomes(self, page: list[archive.Row], files: ResultFiles) -> Iterator[Outcome]:
        attempts, looked_again = self.find_attempts(page), False
        for row in page:
            attempt = attempts.get(row.number)
            if attempt is None:
                yield self.without_attempt(row)
                continue
            outcome = of_attempt(row, attempt, files)
            if outcome is None and not looked_again:
                # The part was collected anew since the page was read: look where it lies now.
                attempts, looked_again = self.find_attempts(page), True
                attempt = attempts[row.number]
                outcome = of_attempt(row, attempt, files)
            yield outcome or unreadable(row, attempt)

    def find_attempts(self, page: list[archive.Row]) -> dict[int, Attempt]:
        """Row number -> the attempt that counts: the newest one, of those that were sent if any.

        Parts that are still being built do not count.
        """
        found = list(
            Request.objects.filter(
                batch=self.batch, row__gte=page[0].number, row__lte=page[-1].number
            ).values_list("pk", "row", "own_id", *(f"result__{name}" for name in OF_RESULT))
        )
        part_ids = {pk >> POSITION_BITS for pk, *_ in found}
        parts = MessageBatch.objects.visible().in_bulk(part_ids)
        attempts: dict[int, Attempt] = {}
        newest: dict[int, tuple[bool, int]] = {}
        for pk, row, own_id, kind, offset, length, concern in found:
            part = parts.get(pk >> POSITION_BITS)
            if part is None:
                continue
            rank = (part.state not in part.NOT_SENT, pk)
            if rank > newest.get(row, (False, -1)):
                newest[row] = rank
                place = offset or 0, length or 0
                attempts[row] = Attempt(part, own_id, kind, *place, concern or "")
        return attempts

    def without_attempt(self, row: archive.Row) -> Outcome:
        own_id = self.identify(row)
        if reason := row.reason or self._left_out.find(row.number):
            return Outcome(row, own_id, Ours.LEFT_OUT, reason)
        if self._run is not None and self._run.state == Run.State.QUEUED:
            return Outcome(row, own_id, Ours.WAITING)
        if self._run is not None and self._run.state == Run.State.REFUSED:
            return Outcome(row, own_id, Ours.NOT_SENT, self._run.reason)
        why = "Not in the adopted batch." if self._is_adopted else "Not chosen by any run yet."
        return Outcome(row, own_id, Ours.NOT_CHOSEN, why)

    def identify(self, row: archive.Row) -> str:
        """The own id of a row that has no request."""
        if not self._is_table:
            return row.own_id
        if self._id_place is None:
            return str(row.number)
        return row.cells[self._id_place].strip()


def newest_run_of_every_row(batch: Batch) -> Run | None:
    """The newest Run, if it takes all rows that have no part yet, or was to take them."""
    run = batch.runs.order_by("-pk").first()
    if run is None or msgspec.convert(run.selection, Selection).kind not in ("all", "rest"):
        return None
    return run


def of_attempt(row: archive.Row, attempt: Attempt, files: ResultFiles) -> Outcome | None:
    """What came of an attempt; None where its answer is not where the index says."""
    part, own_id = attempt.part, attempt.own_id
    if attempt.type not in (None, Ours.MISSING):
        return read_outcome(row, attempt, files)
    if attempt.type is None and part.state in part.NOT_SENT:
        reason = part.reason or f"Part {part.part:,} was not sent."
        return Outcome(row, own_id, Ours.NOT_SENT, reason)
    if attempt.type is None and part.state in part.OPEN:
        return Outcome(row, own_id, Ours.WAITING)
    return Outcome(row, own_id, Ours.MISSING, "The answer was not in the API's results.")


def read_outcome(row: archive.Row, attempt: Attempt, files: ResultFiles) -> Outcome | None:
    part = attempt.part
    if part.results_fence is None:
        return None
    try:
        line = files.read(part.pk, part.results_fence, attempt.offset, attempt.length)
        answer = read_answer(line)
    except (FileNotFoundError, UnreadableLine):
        return None
    sent_as = part.custom_id(row.number) if part.run_id else attempt.own_id
    if answer.custom_id != sent_as:
        return None
    return Outcome(row, attempt.own_id, answer.type, "", answer, line, attempt.concern)


def unreadable(row: archive.Row, attempt: Attempt) -> Outcome:
    """An open part is being collected anew and its answer will be back; else the file is broken."""
    part = attempt.part
    if part.state in part.OPEN:
        return Outcome(row, attempt.own_id, Ours.WAITING)
    name = archive.results(part.pk, part.results_fence or 0).name
    reason = (
        f"The API answered ({attempt.type}), but the answer's file is not readable ({name}). "
        f"Collect part {part.part:,} again, or restore the file from a backup."
    )
    return Outcome(row, attempt.own_id, Ours.UNREADABLE, reason)
