"""The ids of an adopted Batch are looked for in the workspace's files; where a person agrees that
these are its rows, the answers take the numbers of the rows and stand beside them.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import transaction
from django.db.models import Exists, OuterRef

from batches import archive
from batches.adopted_rows import write_requests
from batches.deciding import CannotResolve, take_over
from batches.indexing import counting, scan, write_index
from batches.models import Batch, Match, MessageBatch, Request, Upload
from batches.words import count
from claude_api import read_essentials, split_jsonl
from leases.models import LEASE
from leases.renewing import Renewal, renewing, work_on

if TYPE_CHECKING:
    from django.contrib.auth.models import User

State = Match.State
READY = Upload.State.READY
# The newest files of a workspace, as long as that is not too much to read.
MOST_UPLOADS = 20
MOST_ROWS = 2_000_000
BUSY_PAUSE = timedelta(seconds=5)


class Fit(NamedTuple):
    upload: Upload
    column: str


def step(at: datetime, only: Batch | None = None) -> bool:
    """Look for the file of one adopted Batch, or put it beside its rows; True if there was one."""
    over = [MessageBatch.State.STORED, MessageBatch.State.LOST]
    ended = MessageBatch.objects.filter(
        batch=OuterRef("batch"), state__in=over, batch__deleting_at=None
    )
    matches = Match.objects.filter(Exists(ended), state__in=[State.QUEUED, State.CONFIRMED])
    if only is not None:
        matches = matches.filter(batch=only)
    return work_on(matches, at, partial(match, at=at))


def match(row: Match, renewal: Renewal, at: datetime) -> None:
    part = MessageBatch.objects.select_related("batch").get(batch=row.batch_id)
    if row.state == State.CONFIRMED:
        show_rows(row, part, renewal, at)
        return
    # Of answers that are lost nobody knows the ids.
    fit = find(part, renewal) if part.state == MessageBatch.State.STORED else None
    if fit is None:
        row.release(None, state=State.NONE)
    else:
        row.release(None, state=State.FITS, upload=fit.upload, column=fit.column)


def find(part: MessageBatch, renewal: Renewal) -> Fit | None:
    """The newest file that has each of the ids once, and all of them in one place."""
    ids = ids_of(part)
    uploads = Upload.objects.filter(workspace=part.workspace_id, state=READY, rows__gte=len(ids))
    read = 0
    for upload in uploads.exclude(rows_fence=None).order_by("-pk")[:MOST_UPLOADS]:
        read += upload.rows
        if read > MOST_ROWS:
            return None
        renewal.check()
        column = find_column(upload, ids)
        if column is not None:
            return Fit(upload, column)
    return None


def ids_of(part: MessageBatch) -> dict[str, int]:
    """Each id, and which one it is."""
    named = Request.objects.of(part.pk).order_by("pk").values_list("own_id", flat=True)
    return {own_id: place for place, own_id in enumerate(named.iterator(2_000))}


def find_column(upload: Upload, ids: dict[str, int]) -> str | None:
    """The column that has each id once, "" for ready requests; None where there is none."""
    # Per column how often each id was seen: 0, 1, or 2 for more.
    seen: dict[int, bytearray] = {}
    try:
        for row in sendable(upload):
            for column, value in enumerate(values_of(upload, row)):
                place = ids.get(value.strip())
                if place is not None:
                    times = seen.setdefault(column, bytearray(len(ids)))
                    times[place] = min(times[place] + 1, 2)
    except FileNotFoundError:
        return None
    fitting = [column for column, times in sorted(seen.items()) if times.count(1) == len(ids)]
    if not fitting:
        return None
    return upload.columns[fitting[0]] if upload.kind == Upload.Kind.TABLE else ""


def sendable(upload: Upload) -> Iterator[archive.Row]:
    rows = archive.iterate_rows(upload.pk, upload.rows_fence or 0)
    return (row for row in rows if not row.reason)


def values_of(upload: Upload, row: archive.Row) -> list[str]:
    return row.cells if upload.kind == Upload.Kind.TABLE else [row.own_id]


def confirm(row: Match, at: datetime, actor: "User | None" = None) -> bool:
    """A person says that these are its rows; False where that is not to be said any more."""
    with transaction.atomic():
        fits = Match.objects.filter(pk=row.pk, state=State.FITS, upload__isnull=False)
        if not fits.update(state=State.CONFIRMED, due_at=at):
            return False
        said = f"Its answers are put beside the rows of {row.upload}."
        row.batch.record("match", said, actor=actor, at=at)
    return True


def show_rows(row: Match, part: MessageBatch, renewal: Renewal, at: datetime) -> None:
    """Number the answers as the rows of the file, and say so once all of them are."""
    rows = numbers_of(row, part)
    if rows is None:
        with transaction.atomic():
            if row.release(None, state=State.NONE, upload=None):
                said = "Its ids do not fit the file any more: the answers stay as they are."
                part.batch.record("matched", said, at=at)
        return
    if part.lease_until and part.lease_until > at:
        row.release(at + BUSY_PAUSE)
        return
    try:
        take_over(part, at + LEASE)
    except CannotResolve:
        row.release(at + BUSY_PAUSE)
        return
    with renewing(part) as held:
        write_requests(part, rows, held)
        totals = write_index(part, scan(part), held)
        renewal.check()
        finish(row, part, totals, at)


def numbers_of(row: Match, part: MessageBatch) -> list[tuple[int, str]] | None:
    """Row of the file and id of each answer, in the order of the file; None where one has none.

    From the results file, for the index may be half written by a worker that died.
    """
    upload = row.upload
    if upload is None or upload.state != READY or upload.rows_fence is None:
        return None
    ids = scan_ids(part)
    place = upload.columns.index(row.column) if row.column in upload.columns else 0
    try:
        named = (
            (one.number, values_of(upload, one)[place].strip())
            for one in sendable(upload)
            if place < len(values_of(upload, one))
        )
        rows = [(number, own_id) for number, own_id in named if own_id in ids]
    except FileNotFoundError:
        return None
    whole = len(rows) == len(ids) == part.size and len({own_id for _, own_id in rows}) == len(ids)
    return rows if whole else None


def scan_ids(part: MessageBatch) -> set[str]:
    """The ids in the results file that counts."""
    with open(archive.results(part.pk, part.results_fence or 0), "rb") as file:
        return {read_essentials(line)[0] for line in split_jsonl(file)}


def finish(row: Match, part: MessageBatch, totals: dict[str, Any], at: datetime) -> None:
    upload = row.upload
    if upload is None:
        return
    with counting(part) as counted:
        # Held, so that nobody deletes the last draft of it, and the file with that, meanwhile.
        held = Upload.objects.select_for_update().filter(pk=upload.pk, state=READY)
        if not held.exists() or not part.release(part.due_at, **totals, **counted):
            return
        Batch.objects.filter(pk=part.batch_id).update(upload=upload)
        row.release(None, state=State.SHOWN)
        said = f"{count(part.size, 'answer')} stand beside the rows of {upload}."
        part.batch.record("matched", said, at=at)
        part.batch.recount()
