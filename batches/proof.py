"""Is a results file whole and ours? Only counting tells: a body that ends early is no error.

A line counts once, for the row that its custom_id names; what stands in the file under another
nonce, twice with different content, or not at all, keeps the part from being stored.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple

from batches.models import MessageBatch
from batches.words import count
from claude_api import Line, UnreadableLine, read_essentials
from claude_api.lines import LINE_LIMIT
from claude_api.tolerant import clean

COUNTED_TYPES = ("succeeded", "errored", "canceled", "expired")
MOST_LISTED = 100
MOST_TYPES = 20
ID_LENGTH = 64


class Place(NamedTuple):
    """Where a row's line lies in our file; `content` tells two lines of one row apart."""

    offset: int
    length: int
    content: int


class Numbers:
    """So many numbers, the first 100 of them kept."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[int] = []

    def add(self, number: int) -> None:
        self.count += 1
        if len(self.first) < MOST_LISTED:
            self.first.append(number)

    def __str__(self) -> str:
        shown = ", ".join(f"{number:,}" for number in self.first[:5])
        return shown + (" and others" if self.count > 5 else "")


class Proof:
    """What was sent, against what came back.

    `rows` gives the position of each row that was sent; `names` the row of each custom_id, where
    that is not in the form of ours.
    """

    def __init__(
        self,
        part: MessageBatch,
        rows: Mapping[int, int],
        names: Mapping[str, int] | None = None,
    ) -> None:
        self.part = part
        self.nonce = part.nonce
        self.rows = rows
        self.names = names
        self.places: dict[int, Place] = {}
        self.types: Counter[str] = Counter()
        self.digest = hashlib.sha256()
        self.bytes = 0
        # Of the last download alone, without what an earlier one had:
        self.lines = 0
        self.came: dict[int, int] = {}
        self._fingerprint = 0
        self.repeated = 0
        self.doubled: set[int] = set()
        self.changed: set[int] = set()
        self.unexpected = 0
        self.unexpected_ids: list[str] = []
        self.unreadable = Numbers()
        self.too_long = Numbers()

    def take_earlier(self, line: Line) -> bool:
        """Judge a line of our own file; True if it is the first of one of our rows."""
        try:
            custom_id, kind = read_essentials(line.data)
        except UnreadableLine:
            return False
        row = self.row_of(custom_id)
        if row is None or row in self.places:
            return False
        self._place(row, kind, line.data)
        return True

    def take(self, line: Line) -> bool:
        """Judge one line; True if it is the first of one of our rows and belongs in our file."""
        self.lines += 1
        if line.too_long:
            self.too_long.add(line.number)
            return False
        try:
            custom_id, kind = read_essentials(line.data)
        except UnreadableLine:
            self.unreadable.add(line.number)
            return False
        row = self.row_of(custom_id)
        if row is None:
            self._note_unexpected(custom_id)
            return False
        return self._take_row(row, kind, line.data)

    def _take_row(self, row: int, kind: str, data: bytes) -> bool:
        content = hash(data)
        if row in self.came:
            if self.came[row] == content:
                self.repeated += 1
            else:
                self.doubled.add(row)
            return False
        self.came[row] = content
        self._fingerprint += int.from_bytes(blake2b(data, digest_size=16).digest())
        known = self.places.get(row)
        if known is None:
            self._place(row, kind, data)
        elif known.content != content:
            self.changed.add(row)
        return known is None

    def _place(self, row: int, kind: str, data: bytes) -> None:
        self.places[row] = Place(self.bytes, len(data), hash(data))
        self.bytes += len(data) + 1
        self.digest.update(data + b"\n")
        self.types[kind[:40]] += 1

    def _note_unexpected(self, custom_id: str) -> None:
        self.unexpected += 1
        if len(self.unexpected_ids) < MOST_LISTED:
            self.unexpected_ids.append(clean(custom_id)[:ID_LENGTH])

    def row_of(self, custom_id: str) -> int | None:
        """The row that a custom_id names, if this part sent it."""
        if self.names is not None:
            return self.names.get(custom_id)
        digits, _, nonce = custom_id.partition("_")
        if nonce != self.nonce or not digits.isascii() or not digits.isdigit():
            return None
        # Written another way, a number is not what was sent; and int() takes 4,300 digits at most.
        row = -1 if digits[0] == "0" != digits or len(digits) > 18 else int(digits)
        return row if row in self.rows else None

    @property
    def missing(self) -> int:
        return len(self.rows) - len(self.places)

    @property
    def conflicting(self) -> set[int]:
        """Rows with two different answers, in one download or since an earlier one."""
        return self.doubled | self.changed

    @property
    def fingerprint(self) -> str:
        """Of the answers of the last download, in whatever order, where it is whole by itself:
        each row once, and no line that is not one of them. Else empty."""
        spoiled = self.unexpected or self.unreadable.count or self.too_long.count or self.doubled
        if spoiled or not self.rows or len(self.came) < len(self.rows):
            return ""
        return f"{self._fingerprint % 2**128:032x}"

    def missing_rows(self, most: int) -> list[int]:
        return list(islice((row for row in self.rows if row not in self.places), most))

    def objections(self) -> list[str]:
        """Everything that speaks against the file, in words; empty when it is proven."""
        limit = f"{LINE_LIMIT >> 20} MB"
        two, foreign = len(self.conflicting), self.unexpected
        said = [
            (self.missing, f"{self.missing:,} of {len(self.rows):,} answers are missing"),
            (foreign, f"{count(foreign, 'line')} {'is' if foreign == 1 else 'are'} not ours"),
            (two, f"{count(two, 'row')} {'has' if two == 1 else 'have'} two different answers"),
            (self.unreadable.count, f"line {self.unreadable} cannot be read"),
            (self.too_long.count, f"line {self.too_long} is above {limit} and was not taken"),
        ]
        return [text for number, text in said if number] + self.disagreements()

    def disagreements(self) -> list[str]:
        """Where the API's own counts differ from the answers, once all of these are here.

        Answers of a type newer than this program may be in none of these counts.
        """
        if self.missing:
            return []
        return [
            f"{self.types[name]:,} {name} where the API counts {getattr(self.part, name):,}"
            for name in COUNTED_TYPES
            if self.types[name] != getattr(self.part, name)
        ]

    def summary(self) -> dict[str, Any]:
        """What was counted, bounded however long the file: for MessageBatch.proof."""
        return {
            "sent": len(self.rows),
            "lines": self.lines,
            "answered": len(self.places),
            "missing": self.missing,
            "repeated": self.repeated,
            "unexpected": self.unexpected,
            "unexpected_ids": self.unexpected_ids,
            "conflicting": len(self.conflicting),
            "conflicting_rows": sorted(self.conflicting)[:MOST_LISTED],
            "unreadable": self.unreadable.count,
            "unreadable_lines": self.unreadable.first,
            "too_long": self.too_long.count,
            "too_long_lines": self.too_long.first,
            "types": dict(self.types.most_common(MOST_TYPES)),
            "disagreements": self.disagreements(),
            "fingerprint": self.fingerprint,
            "sha256": self.digest.hexdigest(),
            "bytes": self.bytes,
        }
