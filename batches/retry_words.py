"""What is said of rows that are to be sent once more, and of those that stay."""

from collections.abc import Iterator

from batches.models import Result
from batches.planning import NOT_SENT
from batches.retrying import Answer, Tally

NAMES = {
    (Result.Type.EXPIRED, None): "expired",
    (Result.Type.CANCELED, None): "canceled",
    (Result.Type.MISSING, None): "missing",
    (NOT_SENT, None): "not sent",
    (Result.Type.SUCCEEDED, "max_tokens"): "cut off at max_tokens",
    (Result.Type.SUCCEEDED, "refusal"): "refused",
    (Result.Type.SUCCEEDED, "unfit"): "answered, but not in the output format",
}


def name(answer: Answer) -> str:
    """What a row's newest answer is called in a list."""
    kind, concern = answer
    return NAMES.get(answer) or concern or kind


def say_held(tally: Tally, ready_requests: bool) -> Iterator[str]:
    """Sentences on rows that were named and do not go."""
    if unedited := tally.held["unedited"]:
        what = ", ".join(name(answer) for answer, _ in unedited.most_common())
        needs_file = ready_requests and {concern for _, concern in unedited} != {"max_tokens"}
        way = "a new file" if needs_file else "another recipe"
        one = unedited.total() == 1
        again = "it would fail again. It needs" if one else "they would fail again. They need"
        yield f"{rows_stay(unedited.total())} ({what}): unchanged {again} {way}."
    if number := tally.count_held("unsettled"):
        parts = "its part" if number == 1 else "their parts"
        yield f"{rows_stay(number)}: the answers of {parts} are not all collected yet."
    if number := tally.count_held("succeeded"):
        said = "it succeeded, and is" if number == 1 else "they succeeded, and are"
        yield f"{rows_stay(number)}: {said} not sent again in this batch."


def rows_stay(number: int) -> str:
    return "1 row stays as it is" if number == 1 else f"{number:,} rows stay as they are"
