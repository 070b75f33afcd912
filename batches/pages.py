"""Keyset pages: the next one costs what the first one costs, however many rows lie before."""

from collections.abc import Mapping
from typing import Any, Self

from django.db.models import QuerySet

from batches.models import Batch

# A larger number than any id: a pasted one must not overflow the database's integers.
LAST_ID = 2**63 - 1


def read_id(text: str | None) -> int | None:
    """A row's id out of a query string; None when it is not one."""
    if not text or not text.isascii() or not text.isdigit():
        return None
    return min(int(text[:20]), LAST_ID)


class Page:
    """A page of batches, newest first; `newer` and `older` are ids to go on from, or None."""

    def __init__(
        self, batches: list[Batch], *, newer: bool = False, older: bool = False, turned: bool = True
    ) -> None:
        self.batches, self.turned = batches, turned
        self.newer = batches[0].pk if newer and batches else None
        self.older = batches[-1].pk if older and batches else None

    @classmethod
    def read(cls, rows: QuerySet[Batch], query: Mapping[str, Any], size: int) -> Self:
        """`?before=ID` shows what is older than it, `?after=ID` what is newer."""
        after, before = read_id(query.get("after")), read_id(query.get("before"))
        if after is not None:
            found = list(rows.filter(pk__gt=after).order_by("pk")[: size + 1])
            if len(found) > size:
                return cls(found[size - 1 :: -1], newer=True, older=True)
            before = None
        if before is not None:
            rows = rows.filter(pk__lt=before)
        found = list(rows.order_by("-pk")[: size + 1])
        turned = before is not None
        return cls(found[:size], newer=turned, older=len(found) > size, turned=turned)
