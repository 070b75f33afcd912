"""Which rows of a Batch an exported file holds."""

from typing import Literal, NamedTuple, get_args

from batches.concerns import ORDINARY_STOPS
from batches.exporting_rows import Ours, Outcome
from batches.models import Batch, Result, Upload
from batches.reading import Filter
from batches.searching import Needle, words_of

Rows = Literal["all", "succeeded", "problems", "filter", "selected"]
ROWS: tuple[Rows, ...] = get_args(Rows)
SUCCEEDED = Result.Type.SUCCEEDED
NOBODY_NEEDS_TO_LOOK = {SUCCEEDED, Ours.WAITING, Ours.NOT_CHOSEN}


class Choice(NamedTuple):
    """All rows, or some; `filter` and `text` are those of the results page, for `filter` alone.

    `numbers` are those of the rows that are selected.
    """

    rows: Rows = "all"
    filter: Filter = Filter()
    text: str = ""
    numbers: frozenset[int] = frozenset()

    def takes(self, outcome: Outcome) -> bool:
        if self.rows == "succeeded":
            return outcome.type == SUCCEEDED
        if self.rows == "problems":
            return bool(outcome.concern) or outcome.type not in NOBODY_NEEDS_TO_LOOK
        if self.rows == "selected":
            return outcome.row.number in self.numbers
        return self.rows == "all" or (fits(self.filter, outcome) and holds(self.text, outcome))

    def row_count(self, batch: Batch, upload: Upload) -> int | None:
        """How many rows that is by the counters; None where only the walk finds out."""
        if self.rows == "succeeded":
            return batch.succeeded
        if self.rows == "problems":
            return batch.problem_count
        if self.rows == "all":
            return upload.rows
        if self.rows == "selected":
            return len(self.numbers)
        return None if self.text else self.filter.count(batch)


def fits(chosen: Filter, outcome: Outcome) -> bool:
    """Whether the results page has the row under this filter: rows that were answered."""
    if outcome.answer is None and outcome.type != Result.Type.MISSING:
        return False
    if chosen.stop and chosen.stop in ORDINARY_STOPS:
        stop = outcome.answer.stop_reason if outcome.answer else ""
        return outcome.type == SUCCEEDED and stop == chosen.stop
    if chosen.stop or chosen.error:
        return outcome.concern == (chosen.error or chosen.stop)
    # A type that is newer than this program counts as errored.
    kind = outcome.type if outcome.type in Result.Type.values else Result.Type.ERRORED
    return chosen.type in ("", outcome.type, kind)


def holds(text: str, outcome: Outcome) -> bool:
    """Whether the results page finds the text in the row."""
    needle = Needle(text)
    if not text or needle.is_in(outcome.own_id):
        return True
    answer = outcome.answer
    return answer is not None and needle.may_be_in(outcome.line) and needle.is_in(words_of(answer))
