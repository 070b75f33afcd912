"""Upload bytes -> rows-<fence>.jsonl, rows-<fence>.idx and problems.

After this stage nobody knows encodings or delimiters. Memory does not grow with the file, but
for the ids of ready requests, which must differ over all of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from django.conf import settings

from batches import archive
from batches.models import Batch, Upload
from batches.parsing import json_lines, table
from batches.parsing.decoding import (
    SAMPLE,
    choose_encoding,
    first_undecodable,
    read_sample,
)
from batches.parsing.dialect import check_delimiter, detect_delimiter
from batches.parsing.recognising import is_requests, refuse_foreign
from batches.parsing.undecodable import refuse_undecodable
from batches.problems import FileRefused, Problem
from leases.renewing import Renewal, work_on

SHOWN = 100  # problems that are kept on the Upload; all of them lie in the archive

ParsedRows = Iterator[tuple[archive.Row, list[Problem]]]


@dataclass
class Reading:
    """How a file is read, and its rows, each with its problems."""

    rows: ParsedRows
    kind: str
    encoding: str
    delimiter: str
    columns: list[str]


class ProblemLog:
    """Writes problems down as they are found; keeps how many there are and the first of them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._total = 0
        self._first: list[Problem] = []

    def add(self, problems: list[Problem]) -> None:
        self._total += len(problems)
        self._first += problems[: SHOWN - len(self._first)]
        self._file.writelines(msgspec.json.encode(problem) + b"\n" for problem in problems)

    def add_of_file(self, problems: list[Problem]) -> None:
        """Problems of the whole file are shown before those of its rows."""
        self.add(problems)
        rows = [problem for problem in self._first if problem.row]
        self._first = [*problems, *rows][:SHOWN]

    def summary(self) -> dict[str, Any]:
        first = [msgspec.structs.asdict(problem) for problem in self._first]
        return {"total": self._total, "first": first}


def step(at: datetime, only: Batch | None = None) -> bool:
    """Read one queued Upload, or that of `only`; True if there was one."""
    uploads = Upload.objects.filter(state=Upload.State.QUEUED)
    if only is not None:
        uploads = uploads.filter(pk__in=[only.upload_id])
    return work_on(uploads, at, parse)


def parse(upload: Upload, renewal: Renewal) -> None:
    """Read a claimed Upload and make it ready, or refused with its problems."""
    with archive.writing(archive.problems(upload.pk, upload.fence)) as file:
        log = ProblemLog(file)
        try:
            changes = write_rows(upload, open_upload(upload), log, renewal)
        except FileRefused as refusal:
            log.add_of_file(refusal.problems)
            changes = {"state": Upload.State.REFUSED, "rows": 0, "columns": []}
    upload.release(None, rows_fence=upload.fence, problems=log.summary(), **changes)


def open_upload(upload: Upload) -> Reading:
    """Find out how to read the file. Raises FileRefused."""
    path = archive.received(upload.pk)
    refuse_foreign(_read_head(path), upload.filename)
    encoding = choose_encoding(path, upload.encoding)
    sample, whole = read_sample(path, encoding)
    requests = is_requests(sample, upload.filename)
    delimiter = ""
    if not requests and upload.delimiter:
        delimiter = check_delimiter(upload.delimiter)
    elif not requests:
        delimiter = detect_delimiter(sample, whole, upload.filename)
    offset = first_undecodable(path, encoding)
    if offset is not None:
        refuse_undecodable(path, encoding, delimiter, offset)
    if requests:
        return _read_requests(path, encoding)
    return _read_table(path, encoding, delimiter)


def _read_head(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            head = file.read(SAMPLE)
    except FileNotFoundError:
        problem = Problem("The file is no longer on the server.", fix="Upload it again.")
        raise FileRefused(problem) from None
    if not head.strip(b"\xef\xbb\xbf \t\r\n"):
        raise FileRefused(Problem("File is empty.", fix="Choose another."))
    return head


def _read_requests(path: Path, encoding: str) -> Reading:
    rows = json_lines.read_rows(path, encoding, settings.CLAUDE_API_VERSION)
    return Reading(rows, Upload.Kind.REQUESTS, encoding, "", [])


def _read_table(path: Path, encoding: str, delimiter: str) -> Reading:
    columns = table.read_columns(path, encoding, delimiter)
    rows = table.read_rows(path, encoding, delimiter, columns)
    return Reading(rows, Upload.Kind.TABLE, encoding, delimiter, columns)


def write_rows(
    upload: Upload, reading: Reading, log: ProblemLog, renewal: Renewal
) -> dict[str, Any]:
    """Write the rows and where each lies; what the Upload is to say of them."""
    encoder, offset, count = msgspec.json.Encoder(), 0, 0
    with (
        archive.writing(archive.rows(upload.pk, upload.fence)) as rows,
        archive.writing(archive.rows_index(upload.pk, upload.fence)) as index,
    ):
        for count, (row, problems) in enumerate(reading.rows, 1):  # noqa: B007
            if renewal.lost.is_set():
                renewal.check()
            index.write(archive.INDEX_ENTRY.pack(row.number, offset))
            offset += rows.write(encoder.encode(row) + b"\n")
            log.add(problems)
    return {
        "state": Upload.State.READY,
        "kind": reading.kind,
        "encoding": reading.encoding,
        "delimiter": reading.delimiter,
        "columns": reading.columns,
        "rows": count,
    }
