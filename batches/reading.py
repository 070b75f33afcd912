"""Pages of a Batch's answers, in the order of the file.

Every filter reads one index that is in the order of the rows, so that the last page costs what
the first one costs. "All" merges what the index has of each type.
"""

import heapq
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from django.db.models import QuerySet

from batches.concerns import ORDINARY_STOPS
from batches.models import Batch, Result
from batches.models.index import CHUNK
from batches.pages import read_id

PER_PAGE = 50
LAST_ROW = 2**31 - 1  # what the column holds


def read_row_number(text: str | None) -> int | None:
    number = read_id((text or "").strip().replace(",", ""))
    return None if number is None else min(number, LAST_ROW)


class Filter(NamedTuple):
    """Which answers: of one type, one stop reason (or `unfit`), or one error; at most one."""

    type: str = ""
    stop: str = ""
    error: str = ""

    @classmethod
    def read(cls, query: Mapping[str, Any]) -> Self:
        """The narrowest one that a query string names."""
        for name in ("error", "stop", "type"):
            if said := str(query.get(name, ""))[:60].replace("\x00", ""):
                return cls(**{name: said})
        return cls()

    def parameters(self) -> dict[str, str]:
        return {name: said for name, said in self._asdict().items() if said}

    @property
    def query(self) -> str:
        return urlencode(self.parameters())

    def count(self, batch: Batch) -> int:
        """How many there are, by the counters of the Batch."""
        if self.error:
            errors = (kind for kind in batch.concerns if kind != Result.Type.SUCCEEDED)
            return sum(batch.concerns[kind].get(self.error, 0) for kind in errors)
        if self.stop:
            return int(batch.concerns.get(Result.Type.SUCCEEDED, {}).get(self.stop, 0))
        if self.type in Result.Type.values:
            return int(getattr(batch, self.type))
        return sum(batch.concerns.get(self.type, {}).values()) if self.type else batch.answered

    def branches(self, batch: Batch) -> list[QuerySet[Result]]:
        """Querysets that hold the answers, each in the order of the rows by an index."""
        answers = Result.objects.filter(batch=batch, retried_in=None).order_by("row")
        if self.stop and self.stop in ORDINARY_STOPS:
            return [answers.filter(type=Result.Type.SUCCEEDED, stop_reason=self.stop)]
        if self.stop or self.error:
            return [answers.filter(concern=self.error or self.stop)]
        # A type that is newer than this program is a concern itself, and counts as errored.
        later = [kind for kind in batch.concerns if kind not in Result.Type.values]
        types = [self.type] if self.type else Result.Type.values
        types += later if self.type in ("", Result.Type.ERRORED) else []
        return [answers.filter(type=kind) for kind in types]


class Page(NamedTuple):
    """Answers in the order of the file, and the rows that other pages begin with."""

    results: list[Result]
    previous: int | None = None
    next: int | None = None
    last: int | None = None
    is_first: bool = True


def read_page(batch: Batch, chosen: Filter, start: int, size: int = PER_PAGE) -> Page:
    """The answers from a row on."""
    results = first_from(batch, chosen, start, size + 1)
    before = last_before(batch, chosen, start, size)
    following = results[size].row if len(results) > size else None
    return Page(
        results[:size],
        previous=before[-1] if before else None,
        next=following,
        last=last_before(batch, chosen, LAST_ROW + 1, size)[-1] if following else None,
        is_first=not before,
    )


def first_from(batch: Batch, chosen: Filter, start: int, size: int) -> list[Result]:
    """So many answers from a row on, each with its request."""
    found = [
        result
        for branch in chosen.branches(batch)
        for result in branch.filter(row__gte=start).select_related("request")[:size]
    ]
    return sorted(found, key=attrgetter("row"))[:size]


def last_before(batch: Batch, chosen: Filter, end: int, size: int) -> list[int]:
    """So many row numbers before a row, the nearest first."""
    found = [
        row
        for branch in chosen.branches(batch)
        for row in branch.filter(row__lt=end).order_by("-row").values_list("row", flat=True)[:size]
    ]
    return sorted(found, reverse=True)[:size]


class Place(NamedTuple):
    """Where an answer lies."""

    row: int
    request: int
    offset: int
    length: int
    own_id: str


def iterate_places(batch: Batch, chosen: Filter, start: int, chunk: int = CHUNK) -> Iterator[Place]:
    """The places of all answers from a row on, in the order of the rows; read in chunks."""
    branches = [_places(branch, start, chunk) for branch in chosen.branches(batch)]
    return heapq.merge(*branches)


def _places(branch: QuerySet[Result], start: int, size: int) -> Iterator[Place]:
    fields = ("row", "pk", "offset", "length", "request__own_id")
    while chunk := list(branch.filter(row__gte=start).values_list(*fields)[:size]):
        yield from map(Place._make, chunk)
        start = chunk[-1][0] + 1
