"""Reads bytes as an upload, without a database."""

from typing import NamedTuple

from batches import archive
from batches.archive import Row
from batches.models import Upload
from batches.parsing import open_upload
from batches.problems import FileRefused


class Read(NamedTuple):
    kind: str = ""
    encoding: str = ""
    delimiter: str = ""
    columns: list[str] = []
    rows: list[Row] = []
    problems: list[str] = []
    refused: list[str] = []

    @property
    def cells(self) -> list[list[str]]:
        return [row.cells for row in self.rows]


def read(
    data: bytes,
    filename: str = "rows.csv",
    encoding: str = "",
    delimiter: str = "",
    has_header: bool = True,
) -> Read:
    path = archive.received(1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    choices = {"encoding": encoding, "delimiter": delimiter, "has_header": has_header}
    upload = Upload(pk=1, filename=filename, **choices)
    try:
        reading = open_upload(upload)
        rows = list(reading.rows)
    except FileRefused as refusal:
        return Read(refused=[problem.sentence() for problem in refusal.problems])
    return Read(
        reading.kind,
        reading.encoding,
        reading.delimiter,
        reading.columns,
        [row for row, _ in rows],
        [problem.sentence() for _, problems in rows for problem in problems],
    )
