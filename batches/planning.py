"""Which rows a Run takes, and into how many parts of which sizes they go. Pure."""

from collections.abc import Sequence

import msgspec

MOST_REQUESTS = 100_000
MOST_BYTES = 256_000_000
# Each part is a request of its own to the API, and is looked at with every change of another.
MOST_PARTS = 1_000
ONE_PART_BELOW = 500
USUAL_PARTS = 10
SMALLEST_PART = 50

# {"custom_id":"<row>_<nonce>","params":} and the comma, with the longest row number.
LINE_OVERHEAD = 64
ENVELOPE = len(b'{"requests":[]}')


# A type that no answer has: rows of parts that were never sent.
NOT_SENT = "not_sent"


class Selection(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which of the rows that can be sent a Run takes.

    `all` and `rest` take every row that no part has yet, `first` and `sample` so many of them,
    `part` the rows of one MessageBatch that is sent again. `retry` takes rows by the types and
    concerns of their newest answers, or by their numbers; `among` are the parts that had come to
    rest at the press: what others bring until it is built was neither counted nor priced.
    `max_tokens` raises that of ready requests, which have no recipe.
    """

    kind: str = "all"
    count: int = 0
    seed: int = 0
    part: int = 0
    part_size: int = 0
    types: list[str] = []
    concerns: list[str] = []
    rows: list[int] = []
    among: list[int] | None = None
    max_tokens: int = 0

    @property
    def repeats(self) -> bool:
        """Whether it takes rows that may have been sent before."""
        return self.kind in ("part", "retry")


def plan_parts(lengths: Sequence[int], part_size: int = 0) -> list[int]:
    """Sizes of the parts, in the order of the rows; `lengths` are bytes per request.

    Without `part_size` a Run below 500 rows is one part and a larger one about ten, of at
    least 50 rows. No part is above the API's 100,000 requests or 256 MB, and none is so small
    that there would be more than 1,000.
    """
    return fit_bytes(plan_sizes(len(lengths), part_size), lengths)


def plan_sizes(rows: int, part_size: int = 0) -> list[int]:
    """Sizes of the parts where their bytes do not matter."""
    size = max(part_size or usual_size(rows), -(-rows // MOST_PARTS))
    size = min(size, MOST_REQUESTS)
    sizes = distinct_sizes(rows, -(-rows // size))
    if sizes[0] > MOST_REQUESTS:
        sizes = even_sizes(rows, len(sizes))
    return sizes


def count_parts(rows: int, size: float, part_size: int = 0) -> int:
    """How many parts `plan_parts` makes of rows that are all of one size in bytes."""
    room = max(1, int((MOST_BYTES - ENVELOPE) // (size + LINE_OVERHEAD)))
    return sum(-(-part // room) for part in plan_sizes(rows, part_size))


def usual_size(rows: int) -> int:
    if rows < ONE_PART_BELOW:
        return rows
    return max(SMALLEST_PART, -(-rows // USUAL_PARTS))


def even_sizes(rows: int, parts: int) -> list[int]:
    smaller, larger = divmod(rows, parts)
    return [smaller + (number < larger) for number in range(parts)]


def distinct_sizes(rows: int, parts: int) -> list[int]:
    """Sizes that all differ where there are rows enough: 198 rows in 4 are 51, 50, 49, 48.

    A batch at the API carries no name of ours; a size that no other part has names the part
    whose POST had no answer.
    """
    steps = parts * (parts - 1) // 2
    if rows < steps + parts:
        return even_sizes(rows, parts)
    smallest, larger = divmod(rows - steps, parts)
    return [smallest + parts - 1 - number + (number < larger) for number in range(parts)]


def fit_bytes(sizes: Sequence[int], lengths: Sequence[int]) -> list[int]:
    """Close a part early where its bytes would pass the limit; the rest moves on."""
    fitted: list[int] = []
    start = 0
    for size in sizes:
        start = _fill(fitted, lengths, start, min(start + size, len(lengths)))
    return fitted


def _fill(fitted: list[int], lengths: Sequence[int], start: int, end: int) -> int:
    count, total = 0, ENVELOPE
    for position in range(start, end):
        if count and total + lengths[position] > MOST_BYTES:
            fitted.append(count)
            count, total = 0, ENVELOPE
        count += 1
        total += lengths[position]
    if count:
        fitted.append(count)
    return end
