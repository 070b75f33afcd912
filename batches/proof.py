"""Is a results file whole and ours? Only counting tells: a body that ends early is no error.

A line counts once, for the row that its custom_id names; what stands in the file under another
nonce, twice with different content, or not at all, keeps the part from being stored.
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from batches.models import MessageBatch
from claude_api import Line, UnreadableLine, read_result_line

COUNTED_TYPES = ("succeeded", "errored", "canceled", "expired")


class Place(NamedTuple):
    """Where a row's line lies in our file; `content` tells two lines of one row apart."""

    offset: int
    length: int
    content: int


class Proof:
    """What was sent, against what a results file holds."""

    def __init__(self, part: MessageBatch, rows: Mapping[int, int]) -> None:
        self.part = part
        self.rows = rows  # row -> position of its request
        self.places: dict[int, Place] = {}
        self.types: Counter[str] = Counter()
        self.bytes = 0
        self.conflicting = 0
        self.unexpected = 0
        self.unreadable: list[int] = []

    def take(self, line: Line) -> bool:
        """Judge one line; True if it is the first of one of our rows and belongs in our file."""
        try:
            result = read_result_line(line.data)
        except UnreadableLine:
            self.unreadable.append(line.number)
            return False
        row = self.row_of(result.custom_id)
        if row is None:
            self.unexpected += 1
            return False
        known, content = self.places.get(row), hash(line.data)
        if known:
            self.conflicting += known.content != content
            return False
        self.places[row] = Place(self.bytes, len(line.data), content)
        self.bytes += len(line.data) + 1
        self.types[result.type] += 1
        return True

    def row_of(self, custom_id: str) -> int | None:
        """The row that a custom_id names, if this part sent it."""
        row, _, nonce = custom_id.partition("_")
        if nonce != self.part.nonce or not row.isascii() or not row.isdigit():
            return None
        return int(row) if int(row) in self.rows else None

    @property
    def missing(self) -> int:
        return len(self.rows) - len(self.places)

    def objections(self) -> list[str]:
        """Everything that speaks against the file, in words; empty when it is proven."""
        said = [
            (self.missing, f"{self.missing:,} of {len(self.rows):,} answers are missing"),
            (self.unexpected, f"{self.unexpected:,} lines are not ours"),
            (self.conflicting, f"{self.conflicting:,} rows have two different answers"),
            (self.unreadable, f"line {_numbers(self.unreadable)} cannot be read"),
        ]
        return [text for count, text in said if count] + self._count_objections()

    def _count_objections(self) -> list[str]:
        """Where the API's own counts disagree; types newer than this program have no count."""
        if self.missing or sum(self.types[name] for name in COUNTED_TYPES) < len(self.places):
            return []
        return [
            f"{self.types[name]:,} {name} where the API counts {getattr(self.part, name):,}"
            for name in COUNTED_TYPES
            if self.types[name] != getattr(self.part, name)
        ]


def _numbers(numbers: list[int]) -> str:
    shown = ", ".join(f"{number:,}" for number in numbers[:5])
    return shown + (" and others" if len(numbers) > 5 else "")
