"""An ended MessageBatch becomes a proven results file, then index rows in the order of the rows.

Two passes: the download checks every line and is believed only when nothing speaks against it;
the index is written from our own file. A part whose file falls short is `incomplete`, keeps
what came, and is asked for again as long as the API keeps results: 29 days from its creation.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any, BinaryIO, NamedTuple

from django.db import transaction
from django.db.models import Q

from batches import adopted_rows, archive
from batches.calling import ANOTHER_ACCOUNT, client_for, live_key, remember_refusal, why_no_key
from batches.indexing import counting, scan, write_index
from batches.models import Batch, MessageBatch, Request, Result
from batches.polling import gone
from batches.proof import MOST_LISTED, Proof
from batches.room import NO_ROOM_PAUSE, patient, why_no_room
from batches.words import count, say_size
from claude_api import ClaudeError, Client, NotFound, OutcomeUnknown, split_lines
from leases.renewing import Renewal, work_on

State = MessageBatch.State
RESULTS_KEPT = timedelta(days=29)
# The API's clock and ours differ: nothing is given up before both have surely passed the day.
CLOCK_MARGIN = timedelta(days=1)
FIRST_PAUSE = timedelta(minutes=1)
NOT_YET_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(hours=6)
# So many whole downloads that hold the same answers are believed against the API's counts.
ALIKE = 3
# What a body may hold beside the answers: lines above their limit, lines twice, strangers.
SPARE_BYTES = 256 * 2**20
SPARE_LINES = 10_000
ASKED_AGAIN = " We ask again."
logger = logging.getLogger(__name__)


class End(NamedTuple):
    """Why no more answers come: in the story of the Batch, and as the reason of the part."""

    event: str
    reason: str


API_IS_DONE = End("the API no longer has them", "The API no longer has the results.")
NOBODY_WAITS = End("nobody waits for them any more", "Nobody waits for the rest any more.")


class Endless(Exception):
    """A body that goes on where nothing more can come."""


def step(at: datetime, only: Batch | None = None) -> bool:
    """Collect one part that has ended; True if there was one."""
    parts = MessageBatch.objects.filter(
        Q(state=State.SUBMITTED, processing_status="ended")
        | Q(state=State.INCOMPLETE)
        | Q(gone(at), state=State.SUBMITTED)
        # Only a person makes it due once more.
        | Q(state=State.STORED, stored_at__isnull=False, delete_requested_at=None)
    )
    return work_on(parts.within(only), at, patient(partial(collect, at=at)))


def collect(part: MessageBatch, renewal: Renewal, at: datetime) -> None:
    if part.proven_at:
        go_on(part, renewal, at)
    elif part.stop_waiting_at and part.state != State.STORED:
        give_up(part, renewal, NOBODY_WAITS)
    elif is_gone(part, at):
        end(part, renewal)
    else:
        fetch(part, renewal, at)


def is_gone(part: MessageBatch, at: datetime) -> bool:
    """Whether the API has said often enough that it does not know the part."""
    return MessageBatch.objects.filter(gone(at), pk=part.pk).exists()


def is_over(part: MessageBatch, at: datetime, margin: timedelta = timedelta()) -> bool:
    """Whether the API may have deleted the results: they are older than 29 days."""
    return part.created_at is not None and part.created_at + RESULTS_KEPT + margin <= at


def fetch(part: MessageBatch, renewal: Renewal, at: datetime) -> None:
    """Download, and judge what came; whatever hinders that is said and tried again."""
    key = live_key(part.workspace, part.api)
    if key is None or not key.lists(part.account):
        why = ANOTHER_ACCOUNT if key else why_no_key(part.workspace, part.api)
        put_off(part, renewal, at, FIRST_PAUSE, why)
        return
    if key.paused_until and key.paused(at):
        put_off(part, renewal, at, key.paused_until - at, key.refused or part.reason)
        return
    if why := why_no_room():
        part.release(at + NO_ROOM_PAUSE, reason=why)
        return
    with client_for(key) as client:
        try:
            proof, broken = download(part, client)
        except ClaudeError as error:
            pause = remember_refusal(key, error, at, part.attempts)
            missing = isinstance(error, NotFound)
            if missing:
                # Results are known to be announced some seconds before they can be read.
                pause = min(NOT_YET_PAUSE * 2 ** min(part.attempts, 12), LONGEST_PAUSE)
            why = f"Not collected: {error}"
            final = missing and is_over(part, at)
            tries = part.attempts + 1
            put_off(part, renewal, at, pause, why, final=final, attempts=tries)
            return
        if proof.disagreements():
            mirror_again(part, client)
    adopted_rows.number(part, proof, renewal)
    judge(part, proof, broken, renewal, at)


def put_off(
    part: MessageBatch,
    renewal: Renewal,
    at: datetime,
    pause: timedelta,
    why: str,
    *,
    final: bool = False,
    **changes: Any,
) -> None:
    """Try again later, unless the 29 days are over and there is nothing to wait for."""
    if final or is_over(part, at, CLOCK_MARGIN):
        end(part, renewal)
    else:
        part.release(at + pause, reason=why, **changes)


def end(part: MessageBatch, renewal: Renewal) -> None:
    """The API has nothing more for us."""
    if part.state == State.STORED:
        part.release(None, reason=f"{API_IS_DONE.reason} Restore the results file from a backup.")
    else:
        give_up(part, renewal, API_IS_DONE)


def download(part: MessageBatch, client: Client) -> tuple[Proof, list[str]]:
    """Write what the API sends to the fence's file; return the proof, and what broke the body.

    Lines that an earlier download had are kept, and come first: the new ones are held against
    them. Of an earlier file that was damaged since, only what would be missing is taken.
    """
    proof, broken = adopted_rows.begin_proof(part), []
    # What whole downloads have gainsaid, alike, is no longer what they are held against.
    sound = has_sound_file(part) and part.proof.get("alike", 0) < ALIKE - 1
    with archive.writing(archive.results(part.pk, part.fence)) as file:
        if sound:
            take_earlier(part, proof, file)
        with client.download_results(part.message_batch_id or "") as chunks:
            try:
                take_all(bounded(chunks, proof), proof, file)
            except OutcomeUnknown as error:
                broken.append(f"the download broke off: {str(error).rstrip('.')}")
            except Endless as error:
                broken.append(str(error))
        if not sound and proof.missing:
            take_earlier(part, proof, file)
    return proof, broken


def has_sound_file(part: MessageBatch) -> bool:
    """Whether the results file that counts is, byte for byte, the one that was proven."""
    known = part.proof.get("sha256")
    if part.results_fence is None or not known:
        return False
    try:
        with open(archive.results(part.pk, part.results_fence), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == known
    except FileNotFoundError:
        return False


def take_all(chunks: Iterable[bytes], proof: Proof, file: BinaryIO) -> None:
    most = 2 * len(proof.rows) + SPARE_LINES
    for line in split_lines(chunks):
        if proof.take(line):
            file.write(line.data + b"\n")
        elif proof.lines - len(proof.places) > most:
            raise Endless(f"the file goes on after {proof.lines:,} lines: the rest was not read")


def take_earlier(part: MessageBatch, proof: Proof, file: BinaryIO) -> None:
    if part.results_fence is None:
        return
    try:
        with open(archive.results(part.pk, part.results_fence), "rb") as earlier:
            for line in split_lines(earlier):
                if proof.take_earlier(line):
                    file.write(line.data + b"\n")
    except FileNotFoundError:
        logger.warning("%s: results file %s is gone", part, part.results_fence)


def bounded(chunks: Iterable[bytes], proof: Proof) -> Iterator[bytes]:
    """The chunks of a body, as long as they can be answers: three times as much is no more."""
    read = 0
    for chunk in chunks:
        read += len(chunk)
        if read > 3 * proof.bytes + SPARE_BYTES:
            raise Endless(f"the file goes on after {say_size(read)}: the rest was not read")
        yield chunk


def mirror_again(part: MessageBatch, client: Client) -> None:
    """The counts that disagree may be old: ask for them once more."""
    try:
        remote = client.retrieve_batch(part.message_batch_id or "")
    except ClaudeError as error:
        logger.warning("%s: its counts were not read again: %s", part, error)
        return
    changes = MessageBatch.mirror(remote)
    if remote.processing_status == "ended" and part.mine().update(**changes):
        for name, value in changes.items():
            setattr(part, name, value)


def judge(
    part: MessageBatch, proof: Proof, broken: list[str], renewal: Renewal, at: datetime
) -> None:
    """Believe what came, or keep it and say what is wrong with it."""
    objections = [*proof.objections(), *broken]
    fingerprint = "" if broken else proof.fingerprint
    again = fingerprint and fingerprint == part.proof.get("fingerprint")
    alike = part.proof.get("alike", 0) + 1 if again else int(bool(fingerprint))
    counted = {
        **proof.summary(),
        "missing_rows": list_missing(part, proof),
        "downloads": part.proof.get("downloads", 0) + 1,
        "alike": alike,
    }
    if not objections or (alike >= ALIKE and objections == proof.disagreements()):
        proven = {"results_fence": part.fence, "proven_at": at, "reason": "", "proof": counted}
        if part.mine().update(**proven):
            part.refresh_from_db()
            store(part, proof, renewal, at)
    elif part.state == State.STORED:
        archive.results(part.pk, part.fence).unlink()
        why = f"Collected again, but {'; '.join(objections)}.{ASKED_AGAIN}"
        put_off(part, renewal, at, next_pause(part), why, attempts=part.attempts + 1)
    else:
        keep_incomplete(part, proof, counted, renewal, at, objections)


def list_missing(part: MessageBatch, proof: Proof) -> list[list[Any]]:
    """Row and own id of the first rows that have no answer."""
    first = part.request_ids().start
    ids = [first + proof.rows[row] for row in proof.missing_rows(MOST_LISTED)]
    found = Request.objects.filter(pk__in=ids).order_by("pk")
    return [list(pair) for pair in found.values_list("row", "own_id")]


def next_pause(part: MessageBatch) -> timedelta:
    return min(FIRST_PAUSE * 2 ** min(part.attempts, 12), LONGEST_PAUSE)


def keep_incomplete(
    part: MessageBatch,
    proof: Proof,
    counted: dict[str, Any],
    renewal: Renewal,
    at: datetime,
    objections: list[str],
) -> None:
    """Index what came and say what did not; the next try is due after a growing pause."""
    if not part.mine().update(results_fence=part.fence, proof=counted):
        return
    part.refresh_from_db()
    said = f"Part {part.part} is incomplete: {'; '.join(objections)}."
    if is_over(part, at, CLOCK_MARGIN):
        part.reason = said
        give_up(part, renewal, API_IS_DONE)
        return
    reason = said + ASKED_AGAIN
    changes: dict[str, Any] = {"attempts": part.attempts + 1, "reason": reason}
    # While anything speaks against them the answers may change, and their cost with them.
    changes |= write_index(part, proof, renewal) | {"cost": None}
    due_at = at + next_pause(part)
    with counting(part) as counted:
        changes |= counted
        if part.state == State.SUBMITTED:
            kept = part.release_as(State.INCOMPLETE, due_at, event=reason, at=at, **changes)
        elif kept := part.release(due_at, **changes):
            part.batch.recount()
    if kept:
        # All that they held is in the new file.
        archive.remove_older(archive.results(part.pk, part.results_fence or 0))


def go_on(part: MessageBatch, renewal: Renewal, at: datetime) -> None:
    """A worker died between the proof and the end of the index."""
    proof = scan(part)
    if not proof.missing:
        store(part, proof, renewal, at)
        return
    kept, size = len(proof.places), part.size
    said = (
        f"The results file of part {part.part} was damaged on our disk: {kept:,} of {size:,} "
        "answers can be read. It is collected again."
    )
    with transaction.atomic():
        if part.release(at, proven_at=None, reason=said):
            part.batch.record("damaged", said, at=at, part=part.part)


def store(part: MessageBatch, proof: Proof, renewal: Renewal, at: datetime) -> None:
    """The second half: index a proven file, then say that all of it is here."""
    totals = write_index(part, proof, renewal)
    indexed = Result.objects.of(part.pk).count()
    if indexed != part.size:
        raise ValueError(f"{part}: {indexed:,} of {part.size:,} proven answers are in the index")
    event = (
        f"All {part.size:,} answers of part {part.part} are here: sent {part.size:,}, "
        f"answered {part.size:,}, missing 0."
    )
    if disagreements := part.proof.get("disagreements"):
        event += f" {count(ALIKE, 'download')} were alike, but {'; '.join(disagreements)}."
    with counting(part) as counted:
        changes = {"reason": "", **totals, **counted}
        if part.state == State.STORED:
            stored = finish(part, f"Part {part.part} was collected again. {event}", at, changes)
        else:
            changes["stored_at"] = at
            stored = part.release_as(State.STORED, None, event=event, at=at, **changes)
    if stored:
        archive.remove_older(archive.results(part.pk, part.results_fence or 0))


def finish(part: MessageBatch, event: str, at: datetime, changes: dict[str, Any]) -> bool:
    """A part that was stored before is so again; inside a transaction."""
    if not part.release(None, **changes):
        return False
    part.batch.record(State.STORED, event, at=at, part=part.part)
    part.batch.recount()
    return True


def give_up(part: MessageBatch, renewal: Renewal, end: End) -> None:
    """Nothing more will come: rows without an answer become `missing`, for good."""
    adopted_rows.complete(part, renewal)
    # Anew from the file that counts: an index that a crash left unfinished may lack what is there.
    proof = scan(part)
    totals = write_index(part, proof, renewal, lost=True)
    lost = proof.missing
    event = f"{count(lost, 'answer')} of part {part.part} {'is' if lost == 1 else 'are'} lost: "
    event += f"{end.event}."
    if not lost:
        event = f"Part {part.part} is closed: every row has its answer. {end.reason}"
    reason = f"{part.reason.removesuffix(ASKED_AGAIN)} {end.reason}".strip()
    with counting(part) as counted:
        part.release_as(State.LOST, None, event=event, reason=reason, **totals, **counted)
