"""The beginning of an upload, and single rows of it, as the file page shows them."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from batches import archive
from batches.models import Upload
from claude_api.tolerant import clean

FIRST = 20
SHORT, LONG = 160, 1_000
LONGEST_SHOWN = 64 << 10
NONE = b"null"


class Cell(NamedTuple):
    short: str
    full: str


class ShownRow(NamedTuple):
    number: int
    reason: str
    cells: list[Cell]


class Column(NamedTuple):
    name: str
    filled: str
    longest: int


def first_rows(upload: Upload) -> list[ShownRow]:
    if upload.state != Upload.State.READY or upload.rows_fence is None:
        return []
    rows = archive.iterate_rows(upload.pk, upload.rows_fence)
    return [ShownRow(row.number, row.reason, list(_cells(row))) for row in islice(rows, FIRST)]


def _cells(row: archive.Row) -> Iterator[Cell]:
    texts = row.cells or [row.own_id, _params(row)]
    for text in texts:
        yield Cell(text[:SHORT], text[:LONG] if len(text) > SHORT // 4 else "")


def _params(row: archive.Row) -> str:
    """A line that cannot be sent holds none: then what is wrong with it."""
    if bytes(row.params) == NONE:
        return row.reason
    return bytes(row.params)[:LONG].decode(errors="replace")


def describe_columns(upload: Upload) -> list[Column]:
    """`98 %` is never `100 %` as long as one row lacks it."""
    facts = upload.column_facts or [{}] * len(upload.columns)
    return [
        Column(name, _share(fact.get("filled"), upload.rows), fact.get("longest", 0))
        for name, fact in zip(upload.columns, facts, strict=False)
    ]


def _share(filled: int | None, rows: int) -> str:
    if filled is None or not rows:
        return ""
    if 0 < filled < rows:
        return f"{min(max(100 * filled // rows, 1), 99)} %"
    return "100 %" if filled else "0 %"


class WholeRow(NamedTuple):
    """Every cell of one row; `params` is the JSON of a ready request."""

    number: int
    reason: str
    own_id: str
    cells: list[tuple[str, str]]
    params: str


def whole_row(upload: Upload, number: int) -> WholeRow | None:
    """None for a blank row, and for one that the file does not have."""
    if upload.state != Upload.State.READY or upload.rows_fence is None:
        return None
    row = archive.read_row(upload.pk, upload.rows_fence, number)
    if row is None:
        return None
    cells = [
        (name, cell[:LONGEST_SHOWN]) for name, cell in zip(upload.columns, row.cells, strict=False)
    ]
    return WholeRow(row.number, row.reason, row.own_id, cells, _pretty(row.params))


def _pretty(params: Any) -> str:
    if bytes(params) == NONE:
        return ""
    text = msgspec.json.format(bytes(params), indent=2)
    return clean(text.decode(errors="replace"))[:LONGEST_SHOWN]
