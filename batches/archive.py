"""Where files live, and how they are written, sliced and iterated.

    uploads/<id>/received                   the upload, byte for byte
                 arriving                   as much of it as a browser has sent
                 rows-<fence>.jsonl, .idx   its rows, and where each one lies
                 problems-<fence>.jsonl     what is wrong with them, by row
    runs/<id>/left-out-<fence>.jsonl        rows that a Run's recipe could not send, and why
    message_batches/<id>/
                 requests-<fence>.jsonl     what is sent, a request a line
                 created.json               the API's answer to the POST
                 results-<fence>.jsonl      what came back, byte for byte

A claim writes only files named by its own fence, and the row that is saved afterwards says
which fence's file counts: a worker that wakes up late writes where nobody looks.
"""

import logging
import os
import re
import shutil
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec
from django.conf import settings

NUMBER = re.compile(r"[1-9][0-9]{0,17}")
logger = logging.getLogger(__name__)
INDEX_ENTRY = struct.Struct("<QQ")  # number of the row, offset of its line


class Row(msgspec.Struct, array_like=True, frozen=True):
    """One row of an upload as parsing leaves it: a line of rows-<fence>.jsonl.

    A table's row has cells, in the order of the columns, as many as there are columns. A ready
    request has its own custom_id and its params, raw. A row with a reason is left out.
    """

    number: int
    reason: str = ""
    own_id: str = ""
    cells: list[str] = []
    params: msgspec.Raw = msgspec.Raw(b"null")


class LeftOut(msgspec.Struct, array_like=True, frozen=True):
    number: int
    reason: str


def upload_path(upload_id: int, name: str) -> Path:
    return _path("uploads", upload_id, name)


def received(upload_id: int) -> Path:
    return upload_path(upload_id, "received")


def arriving(upload_id: int) -> Path:
    return upload_path(upload_id, "arriving")


def rows(upload_id: int, fence: int) -> Path:
    return upload_path(upload_id, f"rows-{fence}.jsonl")


def rows_index(upload_id: int, fence: int) -> Path:
    return upload_path(upload_id, f"rows-{fence}.idx")


def problems(upload_id: int, fence: int) -> Path:
    return upload_path(upload_id, f"problems-{fence}.jsonl")


def left_out(run_id: int, fence: int) -> Path:
    return _path("runs", run_id, f"left-out-{fence}.jsonl")


def requests(part_id: int, fence: int) -> Path:
    return _path("message_batches", part_id, f"requests-{fence}.jsonl")


def created(part_id: int) -> Path:
    return _path("message_batches", part_id, "created.json")


def results(part_id: int, fence: int) -> Path:
    return _path("message_batches", part_id, f"results-{fence}.jsonl")


def _path(kind: str, owner_id: int, name: str) -> Path:
    return settings.DATA_DIR / kind / str(owner_id) / name


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Write a file that exists only when it is whole: fsynced under another name, then renamed."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Two processes that write one export do not meet in a file of the same name.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(unfinished, "wb", buffering=1 << 20) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        put_in_place(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def put_in_place(unfinished: Path, path: Path) -> None:
    """Give a file that is whole and fsynced its name, for good."""
    unfinished.replace(path)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_older(path: Path) -> None:
    """Remove what earlier claims wrote under the same name with a smaller fence."""
    name, _, fence = path.stem.rpartition("-")
    for sibling in path.parent.glob(f"{name}-*{path.suffix}"):
        if int(sibling.stem.rpartition("-")[2]) < int(fence):
            sibling.unlink(missing_ok=True)


def size(path: Path) -> int:
    """The bytes of a file, 0 where it is gone."""
    return path.stat().st_size if path.exists() else 0


def read_slice(path: Path, offset: int, length: int) -> bytes:
    """One line by its place, without its newline."""
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(length)


_row_decoder = msgspec.json.Decoder(Row)


def iterate_rows(upload_id: int, fence: int, start: int = 0) -> Iterator[Row]:
    """The rows of an upload in the order of the file, from a byte offset on."""
    with open(rows(upload_id, fence), "rb") as file:
        file.seek(start)
        for line in file:
            yield _row_decoder.decode(line)


def read_row(upload_id: int, fence: int, number: int) -> Row | None:
    """One row by the number that the person sees; None where the file has no such row."""
    return next(read_rows(upload_id, fence, [number]), None)


def read_rows(upload_id: int, fence: int, numbers: Iterable[int]) -> Iterator[Row]:
    """The rows of these numbers, without those that the file has not."""
    with (
        open(rows_index(upload_id, fence), "rb") as index,
        open(rows(upload_id, fence), "rb") as file,
    ):
        for number in numbers:
            offset = _find_offset(index, number)
            if offset is not None:
                file.seek(offset)
                yield _row_decoder.decode(file.readline())


def _find_offset(index: BinaryIO, number: int) -> int | None:
    """Where the line of a row begins, found by halving the index."""
    low, high = 0, index.seek(0, os.SEEK_END) // INDEX_ENTRY.size
    while low < high:
        middle = (low + high) // 2
        index.seek(middle * INDEX_ENTRY.size)
        found, offset = INDEX_ENTRY.unpack(index.read(INDEX_ENTRY.size))
        if found == number:
            return int(offset)
        low, high = (middle + 1, high) if found < number else (low, middle)
    return None


_left_out_decoder = msgspec.json.Decoder(LeftOut)


def iterate_left_out(run_id: int, fence: int | None, first: int = 0) -> Iterator[LeftOut]:
    """The rows from `first` on that a Run left out, in the order of the file; none if that is
    gone."""
    if fence is None:
        return
    try:
        file = open(left_out(run_id, fence), "rb")  # noqa: SIM115
    except FileNotFoundError:
        logger.warning("left-out rows of run %s are gone: %s", run_id, left_out(run_id, fence))
        return
    with file:
        file.seek(_find_left_out(file, first) if first else 0)
        for line in file:
            yield _left_out_decoder.decode(line)


def _find_left_out(file: BinaryIO, number: int) -> int:
    """Where the first line of this row or a later one begins, found by halving the file."""
    low, high = 0, file.seek(0, os.SEEK_END)
    while low < high:
        middle = (low + high) // 2
        file.seek(max(middle - 1, 0))
        if middle:
            file.readline()  # the rest of the line before
        line = file.readline()
        if line and _left_out_decoder.decode(line).number < number:
            low = file.tell()
        else:
            high = middle
    return low


class Files(NamedTuple):
    """What one upload, run or message batch has on the disk, and when any of it last changed."""

    size: int = 0
    changed_at: datetime | None = None


def owners(kind: str) -> Iterator[int]:
    """Whose directories there are, in no order."""
    with suppress(FileNotFoundError), os.scandir(settings.DATA_DIR / kind) as found:
        yield from (int(entry.name) for entry in found if NUMBER.fullmatch(entry.name))


def measure(kind: str, owner_id: int) -> Files:
    """Sizes and times as they are just now: files may come and go meanwhile."""
    size, changed = 0, 0.0
    directory = settings.DATA_DIR / kind / str(owner_id)
    for path in [directory, *directory.glob("*")]:
        with suppress(FileNotFoundError):
            facts = path.stat()
            changed = max(changed, facts.st_mtime)
            size += facts.st_size if path != directory else 0
    return Files(size, datetime.fromtimestamp(changed, UTC)) if changed else Files()


def delete(kind: str, owner_id: int) -> None:
    """Remove all files of one upload, run or message batch."""
    shutil.rmtree(settings.DATA_DIR / kind / str(owner_id), ignore_errors=False)
