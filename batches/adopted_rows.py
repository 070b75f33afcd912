"""The rows of a part that was made elsewhere: there is no file of its requests, only its results.

Until these are here nobody knows its ids. They are taken as they come, up to as many as the API
counts; what is proven then is numbered in the natural order of the ids, or as in an upload.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django.db import transaction

from batches.indexing import row_names, row_positions
from batches.models import MessageBatch, Request, Result
from batches.models.index import CHUNK
from batches.proof import Proof
from leases.renewing import Renewal

_DIGITS = re.compile(r"([0-9]+)")


class Arriving(dict[str, int]):
    """Gives each id the next row when it is first seen, as long as there is one."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def get(self, key: str, default: Any = None) -> Any:
        if key not in self and len(self) < self.size:
            self[key] = len(self) + 1
        return super().get(key, default)


def begin_proof(part: MessageBatch) -> Proof:
    """What a download is held against: what was sent, or where that is not known the counts."""
    if part.run_id is not None or part.state == MessageBatch.State.STORED:
        return Proof(part, row_positions(part), row_names(part))
    rows = {row: row - 1 for row in range(1, part.size + 1)}
    return Proof(part, rows, Arriving(part.size))


def number(part: MessageBatch, proof: Proof, renewal: Renewal) -> None:
    """Give what has arrived its rows for good, in the proof and as Requests.

    Where ids are missing, the last rows are without one.
    """
    if not isinstance(proof.names, Arriving):
        return
    names = sorted(proof.names, key=natural_order)
    rows = {proof.names[name]: row for row, name in enumerate(names, 1)}
    proof.places = {rows[row]: place for row, place in proof.places.items()}
    proof.doubled = {rows[row] for row in proof.doubled}
    proof.changed = {rows[row] for row in proof.changed}
    proof.names = {name: row for row, name in enumerate(names, 1)}
    unknown = range(len(names) + 1, part.size + 1)
    write_requests(part, [*enumerate(names, 1), *((row, "") for row in unknown)], renewal)


def complete(part: MessageBatch, renewal: Renewal) -> None:
    """Of a part whose results never came every row, without its id: each is missing."""
    if part.run_id is None and not Request.objects.of(part.pk).exists():
        write_requests(part, [(row, "") for row in range(1, part.size + 1)], renewal)


def natural_order(name: str) -> tuple[list[Any], str]:
    """r2 before r10."""
    pieces = _DIGITS.split(name)
    return [int(one) if place % 2 else one for place, one in enumerate(pieces)], name


def write_requests(part: MessageBatch, rows: Iterable[tuple[int, str]], renewal: Renewal) -> None:
    """Row number and id of each request, in the order of the rows; what was there goes."""
    Result.objects.delete_part(part.pk, renewal.check)
    Request.objects.delete_part(part.pk, renewal.check)
    requests = make_requests(part, rows)
    while chunk := list(islice(requests, CHUNK)):
        with transaction.atomic():
            renewal.check()
            Request.objects.bulk_create(chunk)


def make_requests(part: MessageBatch, rows: Iterable[tuple[int, str]]) -> Iterator[Request]:
    for position, (row, own_id) in enumerate(rows):
        pk = Request.key(part.pk, position)
        batch = part.batch_id
        yield Request(pk=pk, batch_id=batch, row=row, own_id=own_id, offset=0, length=0)
