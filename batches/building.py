"""A queued Run becomes MessageBatches, each with a finished requests file.

Two passes over the upload: the first learns which rows can be sent and how long their lines
are, the second writes the files. All parts of a Run become queued in one short transaction.
"""

import hashlib
import random
from array import array
from collections.abc import Callable, Iterable, Iterator, Set
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import BinaryIO

import msgspec
from django.db import transaction
from django.db.models import Max

from batches import archive
from batches.limits import Limits, ReadyRenderer
from batches.models import Batch, MessageBatch, Request, Result, Run, Upload
from batches.models.index import CHUNK, POSITION_BITS
from batches.planning import LINE_OVERHEAD, Selection, plan_parts
from batches.problems import Problem
from batches.recipe import Recipe, Rendered, Renderer
from batches.retrying import Found, Wish, answers_of, is_repeatable
from batches.room import patient
from batches.words import count
from leases.models import CRASH_LIMIT
from leases.renewing import Renewal, work_on

WAIT = timedelta(seconds=1)
# Of so many rows in a file it is quicker to look one up than to read them all.
SPARSE = 50
Render = Callable[[archive.Row], Rendered | list[Problem]]


class Survey:
    """What the first pass learns of a Run: the rows that can be sent, and how many cannot."""

    def __init__(self) -> None:
        self.numbers = array("L")
        self.lengths = array("L")
        self.left_out = 0

    def add(self, number: int, rendered: Rendered) -> None:
        self.numbers.append(number)
        self.lengths.append(len(rendered.params) + LINE_OVERHEAD)


class Chosen:
    """The rows that a Run takes; of `answered` the newest answer counts no more from then on."""

    def __init__(self, numbers: set[int], found: Iterable[Found] = ()) -> None:
        self.numbers = numbers
        self.parts: set[int] = set()
        self.answered: set[int] = set()
        for one in found:
            self.numbers.add(one.row)
            if one.part:
                self.answered.add(one.row)
                self.parts.add(one.part)


def step(at: datetime, only: Batch | None = None) -> bool:
    """Build one queued Run, or clean up after one that was canceled; True if there was one."""
    runs = Run.objects.filter(state__in=[Run.State.QUEUED, Run.State.REFUSED])
    if only is not None:
        runs = runs.filter(batch=only)
    return work_on(runs, at, patient(partial(build_or_discard, at=at)))


def build_or_discard(run: Run, renewal: Renewal, at: datetime) -> None:
    if run.state == Run.State.QUEUED:
        build(run, renewal, at)
    else:
        discard_unfinished(run, renewal)
        run.release(None)


def build(run: Run, renewal: Renewal, at: datetime) -> None:
    """Write the parts of a claimed Run and queue them, or refuse the Run with a reason."""
    if is_cleaned_up_after(run):
        run.release(at + WAIT)
        return
    selection = msgspec.convert(run.selection, Selection)
    discard_unfinished(run, renewal)
    wanted = find_repeated(run, selection) if selection.repeats else None
    survey = make_survey(run, wanted)
    chosen = wanted or Chosen(choose(run, selection, survey))
    chosen.numbers.intersection_update(survey.numbers)
    chosen.answered &= chosen.numbers
    if not chosen.numbers:
        refuse(run, survey)
        return
    lengths = [
        length
        for number, length in zip(survey.numbers, survey.lengths, strict=True)
        if number in chosen.numbers
    ]
    again = MessageBatch.objects.filter(pk=selection.part).first()
    sizes = plan_parts(lengths, len(lengths) if again else selection.part_size)
    rows, repeated = render_chosen(run, chosen.numbers), chosen.answered
    parts = [
        write_part(create_part(run, number, again, renewal), islice(rows, size), renewal, repeated)
        for number, size in enumerate(sizes, again.part if again else next_number(run))
    ]
    queue(run, parts, survey, at, chosen)


def is_cleaned_up_after(run: Run) -> bool:
    """Whether the rows that another Run of the Batch has marked are still to be freed."""
    canceled = run.batch.runs.filter(state=Run.State.REFUSED, crashes__lt=CRASH_LIMIT)
    return canceled.exclude(due_at=None).exclude(pk=run.pk).exists()


def discard_unfinished(run: Run, renewal: Renewal) -> None:
    """Remove what a builder left that died, or whose Run was canceled meanwhile."""
    unfinished = list(run.message_batches.filter(state=MessageBatch.State.BUILDING))
    # Only now, for whoever has taken the Run over since may have begun some of these.
    renewal.check()
    for part in unfinished:
        # Before the marks: as long as they are there, answers would be marked anew with this Run.
        Request.objects.delete_part(part.pk)
    free_marked(run, renewal)
    for part in unfinished:
        if archive.requests(part.pk, 0).parent.exists():
            archive.delete("message_batches", part.pk)
        part.delete()


def free_marked(run: Run, renewal: Renewal) -> None:
    """The answers that a Run has marked count again; a chunk at a time.

    Whoever wrote the index of their part meanwhile has counted it without them.
    """
    marked = Result.objects.filter(retried_in=run)
    while ids := list(marked.values_list("pk", flat=True)[:CHUNK]):
        with transaction.atomic():
            run.hold_counted()
            renewal.check()
            marked.filter(pk__in=ids).update(retried_in=None)
            MessageBatch.objects.filter(pk__in={pk >> POSITION_BITS for pk in ids}).count_again()
            run.batch.recount()


def make_survey(run: Run, only: Chosen | None = None) -> Survey:
    """The first pass; writes down on the way which rows the recipe cannot send, and why."""
    key = run.batch.workspace.live_key()
    survey, render = Survey(), renderer_for(run, Limits(key.models if key else []))
    with archive.writing(archive.left_out(run.pk, run.fence)) as file:
        for row in upload_rows(run, only.numbers if only else None):
            rendered = [] if row.reason else render(row)
            if isinstance(rendered, Rendered):
                survey.add(row.number, rendered)
                continue
            survey.left_out += 1
            # What parsing has refused says so itself, in the rows file.
            if rendered:
                file.write(left_out_line(row, rendered))
    return survey


def left_out_line(row: archive.Row, problems: list[Problem]) -> bytes:
    reason = " ".join(problem.sentence() for problem in problems)
    return msgspec.json.encode(archive.LeftOut(row.number, reason)) + b"\n"


def upload_of(run: Run) -> Upload:
    upload = run.batch.upload
    if upload is None or upload.rows_fence is None:
        raise ValueError(f"{run} has no upload whose rows are read")
    return upload


def upload_rows(run: Run, only: set[int] | None = None) -> Iterator[archive.Row]:
    """The rows in the order of the file; all of them, or `only` some."""
    upload = upload_of(run)
    fence = upload.rows_fence or 0
    if only is None:
        return archive.iterate_rows(upload.pk, fence)
    if len(only) * SPARSE < upload.rows:
        return archive.read_rows(upload.pk, fence, sorted(only))
    return (row for row in archive.iterate_rows(upload.pk, fence) if row.number in only)


def renderer_for(run: Run, limits: Limits) -> Render:
    upload = upload_of(run)
    if upload.kind == Upload.Kind.REQUESTS:
        return ReadyRenderer(limits, raised_tokens(run)).render
    return Renderer(msgspec.convert(run.recipe, Recipe), upload.columns).render


def choose(run: Run, selection: Selection, survey: Survey) -> set[int]:
    """The numbers of the rows to build, among those that can be sent."""
    taken = taken_rows(run)
    free = [number for number in survey.numbers if number not in taken]
    if selection.kind == "first":
        return set(free[: selection.count])
    if selection.kind == "sample":
        return set(random.Random(selection.seed).sample(free, min(selection.count, len(free))))
    return set(free)


def raised_tokens(run: Run) -> int:
    """What max_tokens of ready requests are raised to; of a part that is sent again, as it was."""
    selection = msgspec.convert(run.selection, Selection)
    again = MessageBatch.objects.filter(pk=selection.part).select_related("run").first()
    if again is not None and again.run is not None:
        return raised_tokens(again.run)
    return selection.max_tokens


def find_repeated(run: Run, selection: Selection) -> Chosen:
    """The rows of a Run that sends again: of a part, or those whose newest answer is chosen.

    No row that plainly succeeded is among them, whatever was asked for.
    """
    if selection.kind == "retry":
        return Chosen(set(), Wish(run.batch, selection, run.recipe).find())
    rows = set(Request.objects.of(selection.part).values_list("row", flat=True).iterator())
    free = rows - taken_rows(run)
    return Chosen(free, filter(is_repeatable, answers_of(run.batch, rows)))


def taken_rows(run: Run) -> set[int]:
    """Rows that another Run of the Batch has sent or will send, or that turned up at the API."""
    taken: set[int] = set()
    for part in run.batch.message_batches.all():
        if not part.is_free:
            taken.update(Request.objects.of(part.pk).values_list("row", flat=True).iterator())
    return taken


def refuse(run: Run, survey: Survey) -> None:
    reason = (
        f"No row can be sent: {count(survey.left_out, 'row')} left out."
        if survey.left_out and not survey.numbers
        else "No row is left to send."
    )
    with transaction.atomic():
        run.hold_counted()
        if run.release(None, state=Run.State.REFUSED, reason=reason, **left_out_fence(run)):
            tell_left_out(run, survey)
            run.batch.record("refused", reason)
            run.batch.recount()


def sends_again(run: Run) -> bool:
    return msgspec.convert(run.selection, Selection).repeats


def left_out_fence(run: Run) -> dict[str, int]:
    """A Run that sends again leaves out rows that were sent: what came of them stands there."""
    return {} if sends_again(run) else {"left_out_fence": run.fence}


def tell_left_out(run: Run, survey: Survey, at: datetime | None = None) -> None:
    """How many rows the recipe cannot send; those that were sent before are not left out."""
    rows = count(survey.left_out, "row")
    if sends_again(run):
        if survey.left_out:
            said = f"{rows} cannot be sent with this recipe: the earlier answers stay."
            run.batch.record("left_out", said, at=at, run=run.pk)
        return
    if at and survey.left_out != run.batch.left_out:
        run.batch.record("left_out", f"{rows} left out.", at=at)
    Batch.objects.filter(pk=run.batch_id).update(left_out=survey.left_out)


def render_chosen(run: Run, chosen: set[int]) -> Iterator[tuple[int, Rendered]]:
    """The second pass: (row, rendered) of the chosen rows, in the order of the file."""
    # The limits have chosen the rows already, and may have been read anew since.
    render = renderer_for(run, Limits())
    for row in upload_rows(run, chosen):
        rendered = render(row)
        if not isinstance(rendered, Rendered):
            raise ValueError(f"row {row.number} of {run} could be sent a moment ago")
        yield row.number, rendered


def next_number(run: Run) -> int:
    """Parts are numbered through the Batch, so that `part 3` is said of one part only."""
    return (run.batch.message_batches.aggregate(last=Max("part"))["last"] or 0) + 1


def create_part(
    run: Run, number: int, again: MessageBatch | None, renewal: Renewal
) -> MessageBatch:
    with transaction.atomic():
        renewal.check()
        return MessageBatch.objects.create(
            workspace_id=run.batch.workspace_id,
            batch_id=run.batch_id,
            run=run,
            part=number,
            replaces=again,
            requests_fence=run.fence,
        )


def write_part(
    part: MessageBatch,
    rows: Iterator[tuple[int, Rendered]],
    renewal: Renewal,
    answered: Set[int] = frozenset(),
) -> MessageBatch:
    """Write one part's requests file and index it in chunks, as long as the Run is ours."""
    digest = hashlib.sha256()
    with archive.writing(archive.requests(part.pk, part.requests_fence or 0)) as file:
        # One rendered row at a time: a chunk of long ones would be as large as the part.
        requests = (write_request(part, row, one, file, digest) for row, one in rows)
        while chunk := list(islice(requests, CHUNK)):
            insert(part, chunk, renewal, answered)
    part.sha256 = digest.hexdigest()
    return part


def write_request(
    part: MessageBatch, row: int, rendered: Rendered, file: BinaryIO, digest: "hashlib._Hash"
) -> Request:
    """Append one line to the requests file and count it; gives its place."""
    line = request_line(part.custom_id(row), rendered.params)
    request = Request(
        pk=Request.key(part.pk, part.size),
        batch_id=part.batch_id,
        row=row,
        own_id=rendered.own_id,
        offset=part.bytes,
        length=len(line) - 1,
    )
    digest.update(line)
    file.write(line)
    part.size += 1
    part.bytes += len(line)
    return request


def request_line(custom_id: str, params: bytes) -> bytes:
    """One line of the requests file; params are raw JSON and hold no newline."""
    return b'{"custom_id":"%s","params":%s}\n' % (custom_id.encode(), params)


def insert(
    part: MessageBatch, requests: list[Request], renewal: Renewal, answered: Set[int]
) -> None:
    """Insert a chunk in one transaction with the proof that the Run is still ours.

    The answers that its rows have so far count no more.
    """
    marked = answered & {request.row for request in requests}
    with transaction.atomic():
        renewal.check()
        Request.objects.bulk_create(requests)
        if marked and part.run:
            Result.objects.mark(part.run, marked)


def queue(
    run: Run,
    parts: list[MessageBatch],
    survey: Survey,
    at: datetime,
    chosen: Chosen | None = None,
) -> None:
    """Make all parts visible and due at once; nothing happens if the Run was claimed anew."""
    requests = sum(part.size for part in parts)
    with transaction.atomic():
        run.hold_counted()
        if not run.release(None, state=Run.State.BUILT, **left_out_fence(run)):
            return
        for part in parts:
            part.state, part.due_at = MessageBatch.State.QUEUED, at
        MessageBatch.objects.bulk_update(
            parts, ["state", "due_at", "size", "bytes", "sha256"], batch_size=100
        )
        if chosen is not None and chosen.answered:
            count_without_repeated(run, chosen)
        tell_left_out(run, survey, at)
        run.batch.record(
            "built",
            f"{count(requests, 'request')} written in {count(len(parts), 'part')}.",
            at=at,
            run=run.pk,
        )
        run.batch.recount()


def count_without_repeated(run: Run, chosen: Chosen) -> None:
    """The parts whose rows are sent once more have fewer answers that count."""
    marked = Result.objects.filter(retried_in=run).count()
    if marked != len(chosen.answered):
        raise ValueError(f"{run}: {marked:,} of {len(chosen.answered):,} answers are marked")
    MessageBatch.objects.filter(pk__in=chosen.parts).count_again()
