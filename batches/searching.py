"""Finding text in the answers of a Batch: a walk over the archive, in the order of the rows.

A walk ends after two seconds, or with a page of finds, and says how far it came. What is looked
for is what a person sees: decoded text, with upper and lower case and white space all alike.
"""

import re
import time
from typing import NamedTuple

from batches.exporting_rows import ResultFiles
from batches.models import Batch, MessageBatch, Result
from batches.models.index import POSITION_BITS
from batches.reading import PER_PAGE, Filter, Place, iterate_places
from claude_api import Answer, UnreadableLine, read_answer

SECONDS = 2.0
LONGEST = 200  # characters that are looked for
# Characters that stand in JSON as themselves, or as an escape with \u: ASCII, and what the
# scripts of China, Japan and Korea have, which know no upper and lower case.
_PLAIN = re.compile(r"[!#-.0-\[\]-~\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]+")
# The only others that are an ASCII letter in lower case: the Kelvin sign and the dotted I.
_UNSURE = (rb"\u", "\u212a".encode(), "\u0130".encode())


class Found(NamedTuple):
    """The answers that hold the text, and how far was looked; `next` is None at the end."""

    results: list[Result]
    first: int
    last: int
    next: int | None


class Needle:
    """What is looked for; `may_be_in` is quick and never wrong when it says no."""

    def __init__(self, text: str) -> None:
        self.text = fold(text[:LONGEST])
        probes = (run for word in self.text.split(" ") for run in _PLAIN.findall(word))
        self._probe = max(probes, key=len, default="").encode()

    def may_be_in(self, line: bytes) -> bool:
        if any(mark in line for mark in _UNSURE):
            return True
        return self._probe in line.lower()

    def is_in(self, text: str) -> bool:
        return self.text in fold(text)


def fold(text: str) -> str:
    return " ".join(text.lower().split())


def search(
    batch: Batch,
    chosen: Filter,
    text: str,
    start: int,
    *,
    size: int = PER_PAGE,
    seconds: float = SECONDS,
) -> Found:
    """Look from a row on, and at one row at least."""
    needle, until = Needle(text), time.monotonic() + seconds
    found: list[int] = []
    first = last = 0
    more = False
    with Haystack(batch) as haystack:
        for place in iterate_places(batch, chosen, start):
            if len(found) == size or (last and time.monotonic() > until):
                more = True
                break
            first, last = first or place.row, place.row
            if needle.is_in(place.own_id) or haystack.holds(place, needle):
                found.append(place.request)
    results = Result.objects.select_related("request").filter(pk__in=found).order_by("row")
    return Found(list(results), first, last, last + 1 if more else None)


class Haystack(ResultFiles):
    """The answers of a Batch where they lie."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        parts = MessageBatch.objects.filter(batch=batch).exclude(results_fence=None)
        self._fences = dict(parts.values_list("pk", "results_fence"))

    def holds(self, place: Place, needle: Needle) -> bool:
        part = place.request >> POSITION_BITS
        if part not in self._fences or not place.length:
            return False
        try:
            line = self.read(part, self._fences[part], place.offset, place.length)
            return needle.may_be_in(line) and needle.is_in(words_of(read_answer(line)))
        except (FileNotFoundError, UnreadableLine):
            return False


def words_of(answer: Answer) -> str:
    """All that a page shows of an answer."""
    inputs = [part for call in answer.tool_calls for part in call]
    return "\n".join([answer.text, *inputs, answer.error_type, answer.error_message])
