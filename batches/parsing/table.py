"""CSV text to rows, each with what is wrong with it.

A row's number is the one that a spreadsheet shows: records are counted, not lines of the file,
and the header is 1 unless blank rows stand above it.
"""

import csv
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

from batches.archive import Row
from batches.parsing.decoding import TextLines, open_text
from batches.parsing.dialect import NAMES, told_delimiter
from batches.problems import FileRefused, Problem
from batches.recipe import unsendable

COLUMN_LIMIT = 500
CELL_LIMIT = 1_000_000  # bytes of UTF-8
NAME_LIMIT = 1_000
# A cell above CELL_LIMIT is named and the next row read; above this the reading ends, so that
# a quote which is never closed does not take the whole file into memory. Set once, for the
# process: the limit is csv's own global.
FIELD_LIMIT = 16_000_000  # characters
csv.field_size_limit(FIELD_LIMIT)

STRAY_QUOTE = "text follows the quote that closes a cell."


class Record(NamedTuple):
    number: int  # as a spreadsheet shows it
    line: int  # of the file, where it begins
    cells: list[str]
    fault: str = ""

    @property
    def is_blank(self) -> bool:
        return not self.fault and not any(map(str.strip, self.cells))


def read_records(path: Path, encoding: str, delimiter: str) -> Iterator[Record]:
    """Every record of the file that is not blank; raises FileRefused where they cannot be told
    apart."""
    with open_text(path, encoding) as file:
        for record in cut_records(TextLines(file), delimiter):
            if not record.is_blank:
                yield record


def cut_records(lines: TextLines, delimiter: str) -> Iterator[Record]:
    skipped = lines.skip_first(lambda line: bool(told_delimiter(line)))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    for number in count(1):
        begun = reader.line_num + 1
        line = begun + skipped
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "field larger" in str(error):
                raise FileRefused(_endless_cell(number, line)) from None
            if reader.line_num != begun or "expected after" not in str(error):
                raise FileRefused(_open_quote(number, line)) from None
            lenient = csv.reader([lines.newest], delimiter=delimiter)
            yield Record(number, line, next(lenient, []), STRAY_QUOTE)
        else:
            yield Record(number, line, cells)


def _endless_cell(number: int, line: int) -> Problem:
    return Problem(
        f"{_place(number, line)} has a cell above {FIELD_LIMIT // 10**6} MB, or a quote opened "
        "there is never closed.",
        fix="Shorten the cell or close the quote.",
        field="delimiter",
    )


def _place(number: int, line: int) -> str:
    return f"Row {number:,}" + (f" (line {line:,} of the file)" if line != number else "")


def _open_quote(number: int, line: int) -> Problem:
    place = _place(number, line).lower()
    return Problem(
        f"Quote opened in {place} is never closed, or closes inside a later row. "
        "The rows after it cannot be told apart.",
        fix='Close it, or double the quotes that belong to the text: `""`.',
        field="delimiter",
    )


def read_columns(path: Path, encoding: str, delimiter: str, has_header: bool = True) -> list[str]:
    """The names in the header, stripped; raises FileRefused for one that cannot name columns.

    Without a header the columns of the first row are Column 1, Column 2, ...
    """
    header = next(read_records(path, encoding, delimiter), None)
    if header is None:
        raise FileRefused(Problem("No data rows: every line is blank."))
    if not has_header:
        header = Record(*header[:2], [f"Column {place}" for place, _ in enumerate(header.cells, 1)])
    names = [cell.strip() for cell in header.cells]
    problems = list(_header_problems(header, names))
    if problems:
        raise FileRefused(*problems)
    return names


def _header_problems(header: Record, names: list[str]) -> Iterator[Problem]:
    if header.fault:
        yield Problem(f"In the header {header.fault}", fix='Double the quotes inside it: `""`.')
    if len(names) > COLUMN_LIMIT:
        what = f"{len(names):,} columns, the limit is {COLUMN_LIMIT}."
        fix = "Delete columns, or choose another delimiter."
        yield Problem(what, fix=fix, field="delimiter")
        return
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names, 1):
        places.setdefault(name, []).append(place)
        if what := _name_fault(name):
            fix = "Name it in the first row, or delete the column."
            yield Problem(f"Column {place:,} {what}", fix=fix, field="has_header")
    for name, found in places.items():
        if name and len(found) > 1:
            listed = ", ".join(map(str, found[:-1])) + f" and {found[-1]}"
            times = "twice" if len(found) == 2 else f"{len(found)} times"
            what = f"Column `{name[:60]}` appears {times} ({listed})."
            yield Problem(what, fix="Rename or delete one of them.", field="has_header")


def _name_fault(name: str) -> str:
    if not name:
        return "has no name."
    if len(name) > NAME_LIMIT:
        return f"has a name of {len(name):,} characters: the first row is no header."
    return f"has in its name a {fault}" if (fault := unsendable(name)) else ""


def read_rows(
    path: Path, encoding: str, delimiter: str, columns: list[str], has_header: bool = True
) -> Iterator[tuple[Row, list[Problem]]]:
    """Every row of data, cells as many as columns, with its problems."""
    records = read_records(path, encoding, delimiter)
    if has_header:
        next(records)
    first = "header" if has_header else "first row"
    rows = 0
    for rows, record in enumerate(records, 1):  # noqa: B007
        problems = row_problems(record, columns, delimiter, first)
        reason = " ".join(problem.sentence() for problem in problems)
        yield Row(record.number, reason, cells=_fit(record.cells, len(columns))), problems
    if not rows:
        listed = ", ".join(f"`{name}`" for name in columns[:12])
        fix = "Add rows below the header; the first row is taken for it."
        what = f"No data rows; found the header: {listed}."
        raise FileRefused(Problem(what, fix=fix, field="has_header"))


def _fit(cells: list[str], width: int) -> list[str]:
    if len(cells) == width:
        return cells
    return cells[:width] + [""] * (width - len(cells))


def row_problems(
    record: Record, columns: list[str], delimiter: str, first: str = "header"
) -> list[Problem]:
    problems = []
    if record.fault:
        fix = 'Double the quotes inside the cell: `""`.'
        problems.append(Problem(record.fault, row=record.number, fix=fix))
    elif len(record.cells) != len(columns):
        problems += _ragged(record, columns, delimiter, first)
    problems += _cell_problems(record, columns)
    if problems and record.line != record.number:
        last = problems[-1]
        place = f"{last.fix} It begins on line {record.line:,} of the file.".strip()
        problems[-1] = Problem(last.what, row=last.row, column=last.column, fix=place)
    return problems


def _ragged(record: Record, columns: list[str], delimiter: str, first: str) -> Iterator[Problem]:
    cells, width = record.cells, len(columns)
    if len(cells) < width:
        missing = ", ".join(f"`{name}`" for name in columns[len(cells) : len(cells) + 5])
        yield Problem(
            f"{len(cells):,} of {width:,} cells; without one: {missing}.",
            row=record.number,
            fix="Fill the row up, or look for a line break inside a cell without quotes.",
        )
    elif extra := [cell for cell in cells[width:] if cell.strip()]:
        yield Problem(
            f"{len(cells):,} cells, the {first} has {width:,}. An extra one is `{extra[0][:60]}`.",
            row=record.number,
            fix=f"Look for a {NAMES.get(delimiter, delimiter)} in a cell without quotes.",
        )


def _cell_problems(record: Record, columns: list[str]) -> Iterator[Problem]:
    whole = "".join(record.cells)
    if len(whole) <= CELL_LIMIT // 4 and "\0" not in whole:
        return
    for column, cell in zip(columns, record.cells, strict=False):
        if len(cell) > CELL_LIMIT // 4 and (size := len(cell.encode())) > CELL_LIMIT:
            what = f"{size / 1e6:,.1f} MB, the limit is 1 MB per cell."
            yield Problem(what, row=record.number, column=column, fix="Shorten it.")
        if "\0" in cell:
            what, fix = unsendable(cell), "Delete that character."
            yield Problem(what, row=record.number, column=column, fix=fix)
