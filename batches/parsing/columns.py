"""What a column holds, over all rows: how many have it, and how long the longest cell is."""

from operator import add
from typing import Any


class ColumnFacts:
    def __init__(self, width: int) -> None:
        self._filled = [0] * width
        self._longest = [0] * width

    def add(self, cells: list[str]) -> None:
        """One row, as wide as the columns; a cell of spaces is an empty one."""
        self._filled = list(map(add, self._filled, map(bool, map(str.strip, cells))))
        self._longest = list(map(max, self._longest, map(len, cells)))

    def summary(self) -> list[dict[str, Any]]:
        facts = zip(self._filled, self._longest, strict=True)
        return [{"filled": filled, "longest": longest} for filled, longest in facts]
