"""Upload bytes -> rows-<fence>.jsonl, rows-<fence>.idx and problems.

After this stage nobody knows encodings or delimiters. Memory does not grow with the file, but
for the ids of ready requests, which must differ over all of it.
"""

import hashlib
import re
from collections import Counter
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
from batches.parsing.columns import ColumnFacts
from batches.parsing.decoding import (
    SAMPLE,
    choose_encoding,
    first_undecodable,
    read_sample,
)
from batches.parsing.dialect import check_delimiter, detect_delimiter, told_delimiter
from batches.parsing.recognising import is_requests, refuse_foreign
from batches.parsing.undecodable import refuse_undecodable
from batches.problems import FileRefused, Problem
from batches.room import patient
from leases.renewing import Renewal, work_on

SHOWN = 100  # problems that are kept on the Upload; all of them lie in the archive
KINDS = 1_000  # of problems that are told apart
TOLD_EVERY = 20_000  # rows
CHUNK = 1 << 20

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
        self._rows = 0
        self._kinds: Counter[str] = Counter()
        self._first: list[Problem] = []

    def add(self, problems: list[Problem]) -> None:
        """All problems of one row, or of the whole file."""
        if not problems:
            return
        self._total += len(problems)
        self._rows += bool(problems[0].row)
        self._first += problems[: SHOWN - len(self._first)]
        kinds = map(kind_of, problems)
        self._kinds.update(kind for kind in kinds if kind in self._kinds or self._has_room())
        self._file.writelines(msgspec.json.encode(problem) + b"\n" for problem in problems)

    def add_of_file(self, problems: list[Problem]) -> None:
        """Problems of the whole file are shown before those of its rows."""
        self.add(problems)
        rows = [problem for problem in self._first if problem.row]
        self._first = [*problems, *rows][:SHOWN]

    def _has_room(self) -> bool:
        return len(self._kinds) < KINDS

    def summary(self) -> dict[str, Any]:
        first = [msgspec.structs.asdict(problem) for problem in self._first]
        counts = {"total": self._total, "rows": self._rows, "kinds": len(self._kinds)}
        return {**counts, "first": first}


_varying = re.compile(r"`[^`]*`|\d[\d,.]*")


def kind_of(problem: Problem) -> str:
    """What is wrong without the names and numbers of the row that it is wrong in."""
    return _varying.sub("#", problem.what)


def step(at: datetime, only: Batch | None = None) -> bool:
    """Read one queued Upload, or that of `only`; True if there was one."""
    uploads = Upload.objects.filter(state=Upload.State.QUEUED)
    if only is not None:
        uploads = uploads.filter(pk__in=[only.upload_id])
    return work_on(uploads, at, patient(parse))


def parse(upload: Upload, renewal: Renewal) -> None:
    """Read a claimed Upload and make it ready, or refused with its problems."""
    with archive.writing(archive.problems(upload.pk, upload.fence)) as file:
        log = ProblemLog(file)
        try:
            changes = write_rows(upload, open_upload(upload), log, renewal)
        except FileRefused as refusal:
            log.add_of_file(refusal.problems)
            changes = {"state": Upload.State.REFUSED, "rows": 0, "columns": []}
    changes["sha256"] = upload.sha256 or digest(archive.received(upload.pk))
    if upload.release(None, rows_fence=upload.fence, problems=log.summary(), **changes):
        for name in (archive.rows, archive.rows_index, archive.problems):
            archive.remove_older(name(upload.pk, upload.fence))


def digest(path: Path) -> str:
    """SHA-256 of the file; empty where it is gone."""
    sha256 = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                sha256.update(chunk)
    except FileNotFoundError:
        return ""
    return sha256.hexdigest()


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
        told = told_delimiter(sample)
        delimiter = told or detect_delimiter(sample, whole, upload.filename)
    offset = first_undecodable(path, encoding)
    if offset is not None:
        refuse_undecodable(path, encoding, delimiter, offset)
    if requests:
        return _read_requests(path, encoding)
    return _read_table(path, encoding, delimiter, upload.has_header)


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


def _read_table(path: Path, encoding: str, delimiter: str, has_header: bool) -> Reading:
    columns = table.read_columns(path, encoding, delimiter, has_header)
    rows = table.read_rows(path, encoding, delimiter, columns, has_header)
    return Reading(rows, Upload.Kind.TABLE, encoding, delimiter, columns)


def write_rows(
    upload: Upload, reading: Reading, log: ProblemLog, renewal: Renewal
) -> dict[str, Any]:
    """Write the rows and where each lies; what the Upload is to say of them."""
    encoder, offset, count = msgspec.json.Encoder(), 0, 0
    facts = ColumnFacts(len(reading.columns))
    with (
        archive.writing(archive.rows(upload.pk, upload.fence)) as rows,
        archive.writing(archive.rows_index(upload.pk, upload.fence)) as index,
    ):
        for count, (row, problems) in enumerate(reading.rows, 1):
            if renewal.lost.is_set():
                renewal.check()
            index.write(archive.INDEX_ENTRY.pack(row.number, offset))
            offset += rows.write(encoder.encode(row) + b"\n")
            log.add(problems)
            facts.add(row.cells)
            if not count % TOLD_EVERY:
                upload.mine().update(rows=count)
    return {
        "state": Upload.State.READY,
        "kind": reading.kind,
        "encoding": reading.encoding,
        "delimiter": reading.delimiter,
        "columns": reading.columns,
        "column_facts": facts.summary(),
        "rows": count,
    }
