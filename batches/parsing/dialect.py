"""Which character separates the cells of a table."""

import csv
import io
import re
from typing import NamedTuple

from batches.problems import FileRefused, Problem

DELIMITERS = (",", ";", "\t", "|")
NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
# What Excel writes above the header to say what separates the cells, and shows as no row.
TOLD = re.compile(r'"?sep=([^\w\s"]|\t)"?\r?\n', re.IGNORECASE)
NAME_LENGTH = 60  # a longer first cell is a sentence, not the name of a column


class Fit(NamedTuple):
    """How well a delimiter cuts the sample; compared from left to right."""

    has_columns: bool
    share: float  # of the records that are as wide as the first
    width: int


def told_delimiter(text: str) -> str:
    """The one that the first line says, as in `sep=;`; empty where it says none."""
    found = TOLD.match(text)
    return found[1] if found else ""


def check_delimiter(chosen: str) -> str:
    if len(chosen) != 1 or chosen.isalnum() or chosen in ' "\r\n\0':
        raise FileRefused(
            Problem(
                f"`{chosen}` cannot separate cells.",
                fix="Choose , or ; or | or a tab.",
                field="delimiter",
            )
        )
    return chosen


def detect_delimiter(sample: str, whole: bool, filename: str) -> str:
    """The delimiter that cuts the sample's records most evenly.

    A table of one column has none; one that its cells do not hold is chosen then, so that a
    comma in a sentence does not cut it.
    """
    tab_first = filename.lower().endswith((".tsv", ".tab"))
    candidates = sorted(DELIMITERS, key=lambda one: one != "\t") if tab_first else DELIMITERS
    return max(candidates, key=lambda delimiter: measure(sample, whole, delimiter))


def measure(sample: str, whole: bool, delimiter: str) -> Fit:
    records = read_records(sample, delimiter)
    if not whole and len(records) > 1:
        records.pop()  # it may be cut
    if not records:
        return Fit(False, 0.0, 0)
    first, width = records[0], len(records[0])
    named = all(0 < len(cell.strip()) <= NAME_LENGTH for cell in first)
    even = sum(len(record) == width for record in records)
    return Fit(width > 1 and named, even / len(records), width)


def read_records(sample: str, delimiter: str) -> list[list[str]]:
    """The records up to the first that is not sound CSV with this delimiter."""
    records = []
    try:
        for record in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, strict=True):
            if any(record):
                records.append(record)
    except csv.Error:
        # What stood before it is sample enough; the reading itself names the fault.
        return records
    return records
