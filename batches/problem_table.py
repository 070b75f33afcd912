"""All problems of a file as a table that a spreadsheet opens."""

import csv
import io
from collections.abc import Iterator
from itertools import islice

from batches.exporting_formats import BYTE_ORDER_MARK, guard
from batches.problems import Problem
from claude_api.tolerant import clean

AT_ONCE = 1_000
COLUMNS = ("row", "column", "problem", "what_to_do")


def write_problems(problems: Iterator[Problem]) -> Iterator[bytes]:
    """CSV in chunks; cells that a spreadsheet would run get an apostrophe."""
    yield BYTE_ORDER_MARK
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    while True:
        some = list(islice(problems, AT_ONCE))
        for one in some:
            writer.writerow(map(guard, [str(one.row or ""), one.column, one.what, one.fix]))
        yield clean(text.getvalue()).encode()
        text.seek(0)
        text.truncate()
        if not some:
            return
