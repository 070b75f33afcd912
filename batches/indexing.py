"""A results file becomes index rows, in the order of the rows: the second half of collecting.

All of it follows from the file and the requests, so that `manage.py reindex` gives the same again.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from itertools import islice
from typing import Any, BinaryIO

from django.db import transaction

from batches import archive
from batches.concerns import find_concern, output_schema
from batches.models import MessageBatch, Request, Result
from batches.models.batch import TOKENS, add_costs
from batches.models.index import CHUNK, POSITION_BITS
from batches.proof import Proof
from claude_api import read_result_line, split_lines
from claude_api.pricing import cost
from claude_api.types import ResultLine
from leases.renewing import Renewal

FREE = Decimal(0)
NOT_BILLED = frozenset({Result.Type.ERRORED, Result.Type.CANCELED, Result.Type.EXPIRED})


def row_positions(part: MessageBatch) -> dict[int, int]:
    """Row number -> position, of the requests that the part sent."""
    first = part.request_ids().start
    pairs = Request.objects.of(part.pk).values_list("row", "pk").iterator(CHUNK)
    return {row: pk - first for row, pk in pairs}


def row_names(part: MessageBatch) -> dict[str, int] | None:
    """custom_id -> row number, of a part that was made elsewhere; None where it is arithmetic."""
    if part.run_id is not None:
        return None
    named = Request.objects.of(part.pk).exclude(own_id="")
    return dict(named.values_list("own_id", "row").iterator(CHUNK))


def scan(part: MessageBatch) -> Proof:
    """Find the lines of the results file that counts; none where there is no such file."""
    proof = Proof(part, row_positions(part), row_names(part))
    try:
        with open(archive.results(part.pk, part.results_fence or 0), "rb") as file:
            for line in split_lines(file):
                proof.take(line)
    except FileNotFoundError:
        pass
    return proof


def write_index(
    part: MessageBatch, proof: Proof, renewal: Renewal, *, lost: bool = False
) -> dict[str, Any]:
    """Write the Results of a part from its file, anew and in row order.

    Gives the totals for the part's own columns: tokens and cost. With `lost` a row without an
    answer becomes `missing`; as long as one has none, the cost is not known.
    """
    Result.objects.delete_part(part.pk, renewal.check)
    tokens = dict.fromkeys(TOKENS, 0)
    paid: Decimal | None = None if proof.missing else FREE
    results = make_results(part, proof, lost=lost)
    while chunk := list(islice(results, CHUNK)):
        insert(part, chunk, renewal)
        for name in TOKENS:
            tokens[name] += sum(getattr(result, name) for result in chunk)
        paid = add_costs([paid, *(result.cost for result in chunk)])
    return {"tokens": tokens, "cost": paid}


@contextmanager
def counting(part: MessageBatch) -> Iterator[dict[str, Any]]:
    """A transaction for the end of an index, with its answers by type and their concerns.

    A Run that has marked rows of it meanwhile counts before or after, and never in between.
    """
    with transaction.atomic():
        part.hold_counted()
        yield count_index(part)


def count_index(part: MessageBatch) -> dict[str, Any]:
    return {"answers": part.count_answers(), "concerns": part.count_concerns()}


def make_results(part: MessageBatch, proof: Proof, *, lost: bool) -> Iterator[Result]:
    schema = output_schema(part.run.recipe) if part.run else None
    path = archive.results(part.pk, part.results_fence or 0)
    # Without a single answer there may be no file either.
    with open(path if proof.places else os.devnull, "rb") as file:
        for request in Request.objects.in_order(part.pk):
            if request.row in proof.places:
                yield make_result(request, proof, file, schema)
            elif lost:
                yield make_missing(request)


def answered(part: MessageBatch, proof: Proof) -> Iterator[Request]:
    requests = Request.objects.in_order(part.pk)
    return (request for request in requests if request.row in proof.places)


def make_missing(request: Request) -> Result:
    kind = Result.Type.MISSING
    return Result(request_id=request.pk, batch_id=request.batch_id, row=request.row, type=kind)


def make_result(
    request: Request, proof: Proof, file: BinaryIO, schema: Mapping[str, Any] | None = None
) -> Result:
    place = proof.places[request.row]
    data = os.pread(file.fileno(), place.length, place.offset)
    line = read_result_line(data)
    usage = line.usage
    return Result(
        request_id=request.pk,
        batch_id=request.batch_id,
        row=request.row,
        type=line.type[:40],
        stop_reason=line.stop_reason[:60],
        error_type=line.error_type[:60],
        concern=find_concern(line, data, schema),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_input_tokens,
        cache_write_5m_tokens=usage.ephemeral_5m_input_tokens,
        cache_write_1h_tokens=usage.ephemeral_1h_input_tokens,
        cost=bill(line),
        preview=line.preview or line.error_message[:200],
        offset=place.offset,
        length=place.length,
    )


def bill(line: ResultLine) -> Decimal | None:
    """What one answer costs, by the model that gave it; None where that is not known."""
    if line.type in NOT_BILLED or (line.stop_reason == "refusal" and line.empty):
        return FREE
    return cost(line.model, line.usage) if line.type == Result.Type.SUCCEEDED else None


def insert(part: MessageBatch, results: list[Result], renewal: Renewal) -> None:
    """Insert a chunk in one transaction with the proof that the part is still ours."""
    with transaction.atomic():
        renewal.check()
        newer = newer_runs(part, results[0].row, results[-1].row)
        for result in results:
            result.retried_in_id = newer.get(result.row)
        Result.objects.bulk_create(results)


def newer_runs(part: MessageBatch, first: int, last: int) -> dict[int, int | None]:
    """Row -> the Run that took it once more after this part, of the rows from first to last.

    What was never sent leaves the attempt before it as the one that counts.
    """
    later = MessageBatch.objects.filter(batch_id=part.batch_id, pk__gt=part.pk)
    runs = dict(later.exclude(state__in=MessageBatch.NOT_SENT).values_list("pk", "run_id"))
    if not runs:
        return {}
    taken = Request.objects.filter(
        batch_id=part.batch_id,
        row__gte=first,
        row__lte=last,
        pk__gte=min(runs) << POSITION_BITS,
    )
    newer: dict[int, int | None] = {}
    for pk, row in taken.order_by("pk").values_list("pk", "row"):
        if pk >> POSITION_BITS in runs:
            newer.setdefault(row, runs[pk >> POSITION_BITS])
    return newer
