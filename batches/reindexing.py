"""The index of a part, made anew from the archive: the same again, byte for byte.

For a database that was restored from an older day, or whose index is in doubt. States, proofs
and times are facts of their own and stay as they are; so does an index whose file is gone.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice

import msgspec
from django.db import transaction
from django.db.models import F

from batches import archive
from batches.indexing import counting, scan, write_index
from batches.models import MessageBatch, Request, Upload
from batches.models.index import CHUNK
from leases.models import LEASE, owner_name
from leases.renewing import Renewal, renewing

State = MessageBatch.State
# Before that there is nothing of it, or a builder is still writing it.
BUILT = frozenset(State) - {State.BUILDING}
INDEXED = frozenset({State.INCOMPLETE, State.STORED, State.LOST})


class CannotReindex(Exception):
    """What is there stays; the sentence says what is in the way."""


class _Name(msgspec.Struct):
    custom_id: str


_names = msgspec.json.Decoder(_Name)


def reindex(part: MessageBatch, at: datetime) -> int:
    """Write the index of one part anew; how many Results it has."""
    hold(part, at)
    try:
        with renewing(part) as renewal:
            restore_requests(part, renewal)
            return index_again(part, renewal) if part.state in INDEXED else 0
    finally:
        # When it is due, and whether it is set aside, is the workers' business.
        part.mine().update(owner="", lease_until=None)


def hold(part: MessageBatch, at: datetime) -> None:
    free = MessageBatch.objects.filter(pk=part.pk, fence=part.fence).free(at)
    if not free.update(owner=owner_name(), lease_until=at + LEASE, fence=F("fence") + 1):
        raise CannotReindex("a worker is busy with it: try again")
    part.refresh_from_db()


def index_again(part: MessageBatch, renewal: Renewal) -> int:
    """The second half of collecting, from the file that counts."""
    proof = scan(part)
    known = part.size if part.state == State.STORED else part.proof.get("answered", 0)
    if len(proof.places) < known:
        raise CannotReindex(
            f"{len(proof.places):,} of {known:,} answers can be read in its results file; the "
            f"index stays. Restore the file, or: manage.py collect_part {part.pk}"
        )
    totals = write_index(part, proof, renewal, lost=part.state == State.LOST)
    if part.state == State.INCOMPLETE:
        totals["cost"] = None
    if not part.proof:
        totals["proof"] = proof.summary()
    with counting(part) as counted:
        renewal.check()
        part.mine().update(**totals, **counted)
        part.batch.recount()
    return part.size if part.state == State.LOST else len(proof.places)


def restore_requests(part: MessageBatch, renewal: Renewal) -> None:
    """Where Requests are gone, all of them again from the requests file."""
    if part.state not in BUILT or Request.objects.of(part.pk).count() == part.size:
        return
    if part.run is None and part.results_fence is None:
        return  # Nothing of it has come yet: its results tell its requests.
    if part.run is None:
        raise CannotReindex("it was made elsewhere: there is no file of its requests")
    path = archive.requests(part.pk, part.requests_fence or 0)
    if archive.size(path) != part.bytes:
        raise CannotReindex(f"its requests are gone from the database and {path.name} is damaged")
    Request.objects.delete_part(part.pk, renewal.check)
    requests = read_requests(part)
    while chunk := list(islice(requests, CHUNK)):
        name(part, chunk)
        with transaction.atomic():
            renewal.check()
            Request.objects.bulk_create(chunk)


def read_requests(part: MessageBatch) -> Iterator[Request]:
    """The lines of a requests file, without the ids that people know the rows by."""
    offset = 0
    with open(archive.requests(part.pk, part.requests_fence or 0), "rb") as file:
        for position, line in enumerate(file):
            row, _, nonce = _names.decode(line).custom_id.partition("_")
            if nonce != part.nonce:
                raise CannotReindex(f"line {position + 1:,} of its requests file is not its own")
            yield Request(
                pk=Request.key(part.pk, position),
                batch_id=part.batch_id,
                row=int(row),
                offset=offset,
                length=len(line) - 1,
            )
            offset += len(line)


def name(part: MessageBatch, requests: list[Request]) -> None:
    """Give each request its row's own id, from the upload, as building did."""
    upload = part.batch.upload
    recipe = part.run.recipe if part.run else {}
    if upload is None or upload.rows_fence is None:
        raise CannotReindex("its upload is gone, and with it the ids of its rows")
    column, columns = recipe.get("id_column", ""), upload.columns
    place = columns.index(column) if column in columns else None
    rows = archive.read_rows(upload.pk, upload.rows_fence, [request.row for request in requests])
    try:
        for request, row in zip(requests, rows, strict=True):
            request.own_id = own_id(upload, row, place)
    except (FileNotFoundError, ValueError) as error:
        raise CannotReindex("rows of its upload are gone, and with them their ids") from error


def own_id(upload: Upload, row: archive.Row, place: int | None) -> str:
    if upload.kind == Upload.Kind.REQUESTS:
        return row.own_id
    return str(row.number) if place is None else row.cells[place].strip()
