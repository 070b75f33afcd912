"""Batches on disk: a directory each, so that they outlive the process."""

import bisect
import secrets
import shutil
from array import array
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from sandbox.errors import not_found
from sandbox.lifecycle import Batch, counted
from sandbox.paging import Cursor, window

RECORD = "batch.json"
REQUESTS = "requests.jsonl"
OFFSETS = "offsets"
OUTCOMES = "outcomes"
UNFINISHED = "incoming-"


class Store:
    """The batches of one scope, oldest first in memory, each in `<directory>/<id>/`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.batches: dict[str, Batch] = {}
        self.order: list[tuple[int, str]] = []
        self.counts: dict[str, dict[str, int]] = {}
        self._load()

    def _load(self) -> None:
        for unfinished in self.directory.glob(f"{UNFINISHED}*"):
            shutil.rmtree(unfinished)
        for record in self.directory.glob(f"*/{RECORD}"):
            batch = msgspec.json.decode(record.read_bytes(), type=Batch)
            self.batches[batch.id] = batch
            bisect.insort(self.order, (batch.sequence, batch.id))

    def new_directory(self) -> Path:
        """A place for a batch that does not exist yet; a restart removes it."""
        directory = self.directory / f"{UNFINISHED}{secrets.token_hex(8)}"
        directory.mkdir()
        return directory

    def add(self, batch: Batch, directory: Path) -> None:
        """The batch exists from here on, whole."""
        batch.sequence = self.order[-1][0] + 1 if self.order else 1
        (directory / RECORD).write_bytes(msgspec.json.encode(batch))
        directory.rename(self.directory / batch.id)
        self.batches[batch.id] = batch
        self.order.append((batch.sequence, batch.id))

    def save(self, batch: Batch) -> None:
        record = self.directory / batch.id / RECORD
        written = record.with_suffix(".new")
        written.write_bytes(msgspec.json.encode(batch))
        written.rename(record)

    def remove(self, batch: Batch) -> None:
        gone = self.directory / f"{UNFINISHED}{batch.id}"
        (self.directory / batch.id).rename(gone)
        del self.batches[batch.id]
        self.order.remove((batch.sequence, batch.id))
        self.counts.pop(batch.id, None)
        shutil.rmtree(gone)

    def find(self, batch_id: str) -> Batch:
        try:
            return self.batches[batch_id]
        except KeyError:
            raise not_found(f"Message Batch {batch_id} not found.") from None

    def page(self, cursor: Cursor, seen_until: datetime | None = None) -> tuple[list[Batch], bool]:
        """The batches of a page, newest first, and whether more follow in its direction.

        The API does not document a cursor that names no batch: here it is 404 as that batch is.
        What was created after `seen_until` is not listed yet.
        """
        after = self._position(cursor.after_id) if cursor.after_id else None
        before = self._position(cursor.before_id) if cursor.before_id else None
        start, end, has_more = window(self._seen(seen_until), cursor.limit, after, before)
        return [self.batches[key] for _, key in reversed(self.order[start:end])], has_more

    def _seen(self, until: datetime | None) -> int:
        count = len(self.order)
        while until and count and self.batches[self.order[count - 1][1]].created_at > until:
            count -= 1
        return count

    def _position(self, batch_id: str) -> int:
        batch = self.find(batch_id)
        return bisect.bisect_left(self.order, (batch.sequence, batch.id))

    def count(self, batch: Batch) -> dict[str, int]:
        """The five counters of an ended batch."""
        if batch.id not in self.counts:
            self.counts[batch.id] = self._count(batch)
        return self.counts[batch.id]

    def _count(self, batch: Batch) -> dict[str, int]:
        leftover = batch.leftover()
        if leftover is None:
            return counted(succeeded=batch.succeeding, errored=batch.size - batch.succeeding)
        outcomes = (self.directory / batch.id / OUTCOMES).read_bytes()
        pairs = list(zip(outcomes, batch.was_run(), strict=True))
        succeeded, errored = pairs.count((1, 1)), pairs.count((0, 1))
        return counted(
            succeeded=succeeded, errored=errored, **{leftover: batch.size - succeeded - errored}
        )

    def requests(self, batch: Batch) -> "Requests":
        return Requests(self.directory / batch.id)


class Requests:
    """The requests of one batch: one line of JSON each, found by position."""

    def __init__(self, directory: Path) -> None:
        self.offsets = array("Q")
        self.offsets.frombytes((directory / OFFSETS).read_bytes())
        self.file = (directory / REQUESTS).open("rb")

    def __enter__(self) -> "Requests":
        return self

    def __exit__(self, *details: object) -> None:
        self.file.close()

    def __getitem__(self, position: int) -> bytes:
        self.file.seek(self.offsets[position])
        return self.file.readline()

    def __iter__(self) -> Iterator[bytes]:
        self.file.seek(0)
        return iter(self.file)


class RequestsWriter:
    """Writes what `Requests` reads, and one outcome byte for each: 1 succeeds, 0 errs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.offsets = array("Q")
        self.outcomes = bytearray()
        self.file = (directory / REQUESTS).open("wb")

    def write(self, line: bytes, succeeds: bool) -> None:
        self.offsets.append(self.file.tell())
        self.outcomes.append(succeeds)
        self.file.write(line)

    def finish(self) -> None:
        self.file.close()
        (self.directory / OFFSETS).write_bytes(self.offsets.tobytes())
        (self.directory / OUTCOMES).write_bytes(self.outcomes)
