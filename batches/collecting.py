"""An ended MessageBatch becomes a proven results file, then index rows in the order of the rows.

Two passes: the download checks every line and is believed only when nothing speaks against it;
the index is written from our own file. A part whose file falls short is `incomplete`, keeps
what came, and is asked for again as long as the API keeps results: 29 days from its creation.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Any, BinaryIO

from django.db import transaction
from django.db.models import Q

from batches import archive
from batches.calling import client_for, live_key, remember_refusal, why_no_key
from batches.concerns import find_concern, output_schema
from batches.models import Batch, MessageBatch, Request, Result
from batches.models.batch import TOKENS, add_costs
from batches.models.index import CHUNK
from batches.polling import gone
from batches.proof import Proof
from claude_api import (
    ClaudeError,
    Client,
    NotFound,
    OutcomeUnknown,
    read_result_line,
    split_lines,
)
from claude_api.pricing import cost
from claude_api.types import ResultLine
from leases.renewing import Renewal, work_on

State = MessageBatch.State
RESULTS_KEPT = timedelta(days=29)
FIRST_PAUSE = timedelta(minutes=1)
NOT_YET_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(hours=6)
FREE = Decimal(0)
NOT_BILLED = frozenset({Result.Type.ERRORED, Result.Type.CANCELED, Result.Type.EXPIRED})


def step(at: datetime, only: Batch | None = None) -> bool:
    """Collect one part that has ended; True if there was one."""
    parts = MessageBatch.objects.filter(
        Q(state=State.SUBMITTED, processing_status="ended")
        | Q(state=State.INCOMPLETE)
        | Q(gone(at), state=State.SUBMITTED)
    )
    return work_on(parts.within(only), at, partial(collect, at=at))


def collect(part: MessageBatch, renewal: Renewal, at: datetime) -> None:
    if part.proven_at:
        store(part, scan(part), renewal, at)
    elif is_out_of_reach(part, at):
        give_up(part, renewal)
    else:
        fetch(part, renewal, at)


def is_out_of_reach(part: MessageBatch, at: datetime) -> bool:
    """Whether the API no longer has the results: deleted there, or older than 29 days."""
    if part.created_at and part.created_at + RESULTS_KEPT <= at:
        return True
    return MessageBatch.objects.filter(gone(at), pk=part.pk).exists()


def fetch(part: MessageBatch, renewal: Renewal, at: datetime) -> None:
    key = live_key(part.workspace, part.api)
    if key is None:
        part.release(at + FIRST_PAUSE, reason=why_no_key(part.workspace, part.api))
        return
    if key.paused(at):
        part.release(key.paused_until, reason=key.refused or part.reason)
        return
    with client_for(key) as client:
        try:
            proof, broken = download(part, client)
        except ClaudeError as error:
            pause = remember_refusal(key, error, at, part.attempts)
            if isinstance(error, NotFound):
                # Results are known to be announced some seconds before they can be read.
                pause = min(NOT_YET_PAUSE * 2 ** min(part.attempts, 12), LONGEST_PAUSE)
            part.release(at + pause, attempts=part.attempts + 1, reason=f"Not collected: {error}")
            return
    objections = proof.objections()
    if objections:
        keep_incomplete(part, proof, renewal, at, [*objections, *broken])
    elif part.mine().update(results_fence=part.fence, proven_at=at, reason=""):
        part.refresh_from_db()
        store(part, proof, renewal, at)


def download(part: MessageBatch, client: Client) -> tuple[Proof, list[str]]:
    """Write what the API sends to the fence's file; return the proof, and what broke the body.

    Lines that an earlier download had and this one lacks are kept.
    """
    proof = Proof(part, row_positions(part))
    broken: list[str] = []
    with archive.writing(archive.results(part.pk, part.fence)) as file:
        with client.download_results(part.message_batch_id or "") as chunks:
            try:
                take_all(chunks, proof, file)
            except OutcomeUnknown as error:
                broken.append(f"the download broke off: {str(error).rstrip('.')}")
        if proof.missing and part.results_fence is not None:
            with open(archive.results(part.pk, part.results_fence), "rb") as earlier:
                take_all(earlier, proof, file)
    return proof, broken


def take_all(chunks: Iterable[bytes], proof: Proof, file: BinaryIO) -> None:
    for line in split_lines(chunks):
        if line.too_long:
            proof.unreadable.append(line.number)
        elif proof.take(line):
            file.write(line.data + b"\n")


def row_positions(part: MessageBatch) -> dict[int, int]:
    """Row number -> position, of the requests that the part sent."""
    first = part.request_ids().start
    pairs = Request.objects.of(part.pk).values_list("row", "pk").iterator(CHUNK)
    return {row: pk - first for row, pk in pairs}


def keep_incomplete(
    part: MessageBatch, proof: Proof, renewal: Renewal, at: datetime, objections: list[str]
) -> None:
    """Index what came and say what did not; the next try is due after a growing pause."""
    pause = min(FIRST_PAUSE * 2 ** min(part.attempts, 12), LONGEST_PAUSE)
    if not part.mine().update(results_fence=part.fence):
        return
    part.refresh_from_db()
    reason = f"Part {part.part} is incomplete: {'; '.join(objections)}. We ask again."
    changes = {"attempts": part.attempts + 1, "reason": reason}
    # What the answers that have not come cost is not known, so neither is the sum.
    changes |= write_index(part, proof, renewal) | {"cost": None}
    if part.state == State.SUBMITTED:
        part.release_as(State.INCOMPLETE, at + pause, event=reason, at=at, **changes)
        return
    with transaction.atomic():
        if part.release(at + pause, **changes):
            part.batch.recount()


def store(part: MessageBatch, proof: Proof, renewal: Renewal, at: datetime) -> None:
    """The second half: index a proven file, then say that all of it is here."""
    totals = write_index(part, proof, renewal)
    indexed = Result.objects.of(part.pk).count()
    if indexed != part.size:
        raise ValueError(f"{part}: {indexed:,} of {part.size:,} proven answers are in the index")
    stored = part.release_as(
        State.STORED,
        None,
        event=(
            f"All {part.size:,} answers of part {part.part} are here: sent {part.size:,}, "
            f"answered {part.size:,}, missing 0."
        ),
        at=at,
        stored_at=at,
        reason="",
        **totals,
    )
    if stored:
        archive.remove_older(archive.results(part.pk, part.results_fence or 0))


def scan(part: MessageBatch) -> Proof:
    """Find the lines of a results file that counts already."""
    proof = Proof(part, row_positions(part))
    with open(archive.results(part.pk, part.results_fence or 0), "rb") as file:
        for line in split_lines(file):
            proof.take(line)
    return proof


def write_index(part: MessageBatch, proof: Proof, renewal: Renewal) -> dict[str, Any]:
    """Write the Results of a part from its file, anew and in row order.

    Gives the totals for the part's own columns: tokens, cost, and answers by type.
    A part that was sent again and turned up after all is paid, but its rows have a newer attempt.
    """
    path = archive.results(part.pk, part.results_fence or 0)
    Result.objects.delete_part(part.pk, renewal.check)
    tokens = dict.fromkeys(TOKENS, 0)
    paid: Decimal | None = FREE
    newer = newer_run(part)
    schema = output_schema(part.run.recipe) if part.run else None
    with open(path, "rb") as file:
        results = (make_result(request, proof, file, schema) for request in answered(part, proof))
        while chunk := list(islice(results, CHUNK)):
            insert(chunk, newer, renewal)
            for name in TOKENS:
                tokens[name] += sum(getattr(result, name) for result in chunk)
            paid = add_costs([paid, *(result.cost for result in chunk)])
    return {"tokens": tokens, "cost": paid, **count_index(part)}


def count_index(part: MessageBatch) -> dict[str, Any]:
    return {"answers": part.count_answers(), "concerns": part.count_concerns()}


def answered(part: MessageBatch, proof: Proof) -> Iterator[Request]:
    requests = Request.objects.in_order(part.pk)
    return (request for request in requests if request.row in proof.places)


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


def newer_run(part: MessageBatch) -> int | None:
    """The Run that sent the rows of the part once more, where one did."""
    sent = MessageBatch.objects.visible().exclude(state__in=MessageBatch.NOT_SENT)
    return sent.filter(replaces=part).values_list("run_id", flat=True).first()


def insert(results: list[Result], newer: int | None, renewal: Renewal) -> None:
    """Insert a chunk in one transaction with the proof that the part is still ours."""
    for result in results:
        result.retried_in_id = newer
    with transaction.atomic():
        renewal.check()
        Result.objects.bulk_create(results)


def give_up(part: MessageBatch, renewal: Renewal) -> None:
    """The API has nothing more: rows without an answer become `missing`, for good."""
    # Anew from the file that counts: an index that a crash left unfinished may lack what is there.
    totals: dict[str, Any] = {}
    if part.results_fence is None:
        Result.objects.delete_part(part.pk, renewal.check)
    else:
        totals = write_index(part, scan(part), renewal)
    have = set(Result.objects.of(part.pk).values_list("pk", flat=True).iterator(CHUNK))
    missing = (
        Result(
            request_id=request.pk,
            batch_id=request.batch_id,
            row=request.row,
            type=Result.Type.MISSING,
        )
        for request in Request.objects.in_order(part.pk)
        if request.pk not in have
    )
    newer = newer_run(part)
    while chunk := list(islice(missing, CHUNK)):
        insert(chunk, newer, renewal)
    lost = part.size - len(have)
    if lost:
        totals["cost"] = None
    totals |= count_index(part)
    part.release_as(
        State.LOST,
        None,
        event=f"{lost:,} answers of part {part.part} are lost: the API no longer has them.",
        reason=part.reason or "The API no longer has the results.",
        **totals,
    )
