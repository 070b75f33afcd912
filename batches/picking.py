"""Which row of an upload is looked at: by its number, its length, or at random.

Lengths come from the index alone, where each row's line begins; the rows are not read for it.
"""

import heapq
import os
import random
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from batches import archive
from batches.archive import INDEX_ENTRY, Row

CHUNK = INDEX_ENTRY.size << 12
# So many are tried where the row that was asked for is one that is left out.
TRIES = 20
WORDS = ("longest", "shortest", "random")


class Picked(NamedTuple):
    """A row and the numbers of those beside it; `instead_of` is one that the file has not."""

    row: Row
    before: int | None
    after: int | None
    instead_of: int | None = None


class RowIndex(Sequence[tuple[int, int]]):
    """The index file as a sequence of (number of the row, offset of its line)."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._count = file.seek(0, os.SEEK_END) // INDEX_ENTRY.size

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, position: int) -> tuple[int, int]:  # type: ignore[override]
        if not 0 <= position < self._count:
            raise IndexError(position)
        self._file.seek(position * INDEX_ENTRY.size)
        return INDEX_ENTRY.unpack(self._file.read(INDEX_ENTRY.size))

    def lengths(self, size: int) -> Iterator[tuple[int, int]]:
        """(length of the line, position) of each row of a rows file of `size` bytes."""
        self._file.seek(0)
        start, position = None, -1
        while chunk := self._file.read(CHUNK):
            for _, offset in INDEX_ENTRY.iter_unpack(chunk):
                if start is not None:
                    yield offset - start, position
                start, position = offset, position + 1
        if start is not None:
            yield size - start, position


def pick(upload_id: int, fence: int, wanted: str = "") -> Picked | None:
    """The row of that number or WORDS; else the first that can be sent. None without any row."""
    with _opened(upload_id, fence) as index:
        number = int(wanted[:18]) if wanted.isascii() and wanted.isdigit() else None
        if number is not None:
            position = bisect_left(index, number, key=lambda entry: entry[0])
            positions = [min(position, len(index) - 1)] if index else []
        else:
            size = archive.size(archive.rows(upload_id, fence))
            positions = _positions(index, wanted, size)
        found = _first_sendable(upload_id, fence, index, positions)
        if found is None:
            return None
        row, position = found
        return Picked(
            row,
            index[position - 1][0] if position else None,
            index[position + 1][0] if position + 1 < len(index) else None,
            number if number not in (None, row.number) else None,
        )


@contextmanager
def _opened(upload_id: int, fence: int) -> Iterator[RowIndex]:
    with open(archive.rows_index(upload_id, fence), "rb") as file:
        yield RowIndex(file)


def _positions(index: RowIndex, wanted: str, size: int) -> list[int]:
    """Positions to try, the best one first."""
    if wanted == "longest":
        return [place for _, place in heapq.nlargest(TRIES, index.lengths(size))]
    if wanted == "shortest":
        return [place for _, place in heapq.nsmallest(TRIES, index.lengths(size))]
    if wanted == "random":
        return random.sample(range(len(index)), min(TRIES, len(index)))
    return list(range(min(TRIES, len(index))))


def _first_sendable(
    upload_id: int, fence: int, index: RowIndex, positions: list[int]
) -> tuple[Row, int] | None:
    """The first of the rows that parsing did not refuse; where it refused all, the first."""
    first = None
    for position in positions:
        row = next(archive.iterate_rows(upload_id, fence, index[position][1]))
        first = first or (row, position)
        if not row.reason:
            return row, position
    return first
