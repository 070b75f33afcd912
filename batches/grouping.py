"""The rows of a Batch that need a person, in groups: how many, why, and what to do.

The groups add up to `Batch.problem_count`.
"""

import re
from collections.abc import Iterator
from heapq import merge
from itertools import islice
from typing import NamedTuple
from urllib.parse import urlencode

from batches import archive
from batches.concerns import UNFIT, UNNAMED, needs_another_recipe
from batches.models import Batch, MessageBatch, Request, Result
from batches.models.batch import superseded
from batches.planning import NOT_SENT
from batches.reading import Filter, first_from
from batches.words import count

NAMED_ROW = re.compile(r"^(?:Row|Line) [\d,]+(?=[,:])")
SHOWN = 5  # rows that were left out, with their reasons


class Advice(NamedTuple):
    """What a person should know and do; `mend` where another recipe is the way out."""

    text: str
    mend: bool = False


AGAIN = Advice("Safe to send again; not billed.")
WRONG = "The request is wrong as it is; sending it again unchanged will fail again."
UNKNOWN_ERROR = Advice("The API's own message says why. Not billed.")
ERRORS = {
    "invalid_request_error": Advice(WRONG, mend=True),
    "request_too_large": Advice(
        "The request is larger than the API takes. Shorten the row or the prompt.", mend=True
    ),
    "not_found_error": Advice(
        "The API does not know the model, or something else that the request names.", mend=True
    ),
    "authentication_error": Advice(
        "The API refused the key while it worked on this. Not billed. An owner should look at the "
        "API key before it is sent again."
    ),
    "permission_error": Advice(
        "The workspace's key may not do what the request asks for. Not billed. An owner should "
        "look at the API key, or the recipe should name another model.",
        mend=True,
    ),
    "billing_error": Advice(
        "The account behind the key could not pay. Not billed. Safe to send again once it can."
    ),
    "rate_limit_error": AGAIN,
    "timeout_error": AGAIN,
    "api_error": AGAIN,
    "overloaded_error": AGAIN,
    UNNAMED: UNKNOWN_ERROR,
}
LOOKS = {
    "max_tokens": Advice(
        "Answered and billed, but incomplete. Raise max tokens in the recipe.", mend=True
    ),
    "refusal": Advice(
        "Claude declined to answer. Look at what the row asks for.",
        mend=True,
    ),
    "pause_turn": Advice(
        "Claude paused in the middle of a long turn. Answered in part and billed."
    ),
    "model_context_window_exceeded": Advice(
        "Cut off where the model's context was full. Answered in part and billed. Shorten the "
        "row, or choose a model with a larger context.",
        mend=True,
    ),
    UNFIT: Advice("Answered and billed, but not in the output format of the recipe.", mend=True),
}
UNKNOWN_LOOK = Advice("Answered, but ended in a way that is new to Sluice. Look at the answer.")
LATER_TYPE = Advice("A kind of result that is new to Sluice. Look at it as the API sent it.")
TYPES = {
    "expired": Advice("Not answered within 24 hours. Safe to send again; not billed."),
    "canceled": Advice("Canceled before it was answered. Not billed."),
    "missing": Advice("No answer of it came in the API's results. It may have been billed."),
}
TITLES = {
    "max_tokens": "Succeeded, but cut off at max_tokens",
    "refusal": "Refused",
    "pause_turn": "Succeeded, but paused",
    "model_context_window_exceeded": "Succeeded, but cut off: the context was full",
    UNFIT: "Answer does not fit the output format",
}


class Example(NamedTuple):
    row: int
    own_id: str
    text: str


class Group(NamedTuple):
    """Rows with one trouble; `chosen` finds those that were answered among the results.

    `way` is how they may be sent once more, with the query of that page: see `way_of`.
    """

    title: str
    number: int
    advice: Advice
    examples: list[Example] = []
    chosen: Filter | None = None
    way: str = ""
    retry_query: str = ""

    @property
    def more_query(self) -> str:
        """What an address that has a query already gets, so that a row opens among its like."""
        return f"&{self.chosen.query}" if self.chosen else ""


def advise(kind: str, concern: str | None) -> Advice | None:
    """What to do about one answer; None where it is as it should be."""
    if kind == Result.Type.SUCCEEDED:
        return LOOKS.get(concern, UNKNOWN_LOOK) if concern else None
    if kind != Result.Type.ERRORED:
        return TYPES.get(kind, LATER_TYPE)
    return ERRORS.get(concern or "", UNKNOWN_ERROR)


def way_of(kind: str, concern: str | None) -> str:
    """`retry` as it is; `raise` max tokens first; `edit` the recipe first; empty: in no way."""
    if kind == Result.Type.SUCCEEDED and concern is None:
        return ""
    if concern == "max_tokens":
        return "raise"
    return "edit" if needs_another_recipe(kind, concern) else "retry"


def group_problems(batch: Batch) -> list[Group]:
    groups = [*left_out(batch), *not_sent(batch), *errored(batch), *by_type(batch), *looks(batch)]
    return [group for group in groups if group.number]


def say_sum(batch: Batch) -> str:
    """2 left out + 31 not succeeded: what the tab's count is made of."""
    terms = [
        (batch.left_out, "left out"),
        (batch.not_sent, "not sent"),
        (batch.not_succeeded, "not succeeded"),
        (batch.worth_a_look, "answered but worth a look"),
    ]
    return " + ".join(f"{number:,} {word}" for number, word in terms if number)


def left_out(batch: Batch) -> Iterator[Group]:
    if batch.left_out:
        advice = Advice("Never sent and not billed. Mend them in the file, or change the recipe.")
        yield Group("Left out before sending", batch.left_out, advice, first_left_out(batch))


def first_left_out(batch: Batch) -> list[Example]:
    """The first rows that were left out, with the reasons of the file or of the newest Run."""
    try:
        found = list(islice(merge(left_out_by_file(batch), left_out_by_recipe(batch)), SHOWN))
    except FileNotFoundError:
        return []
    return [Example(number, "", without_row(reason)) for number, reason in found]


def left_out_by_file(batch: Batch) -> Iterator[tuple[int, str]]:
    upload = batch.upload
    if upload is None or upload.rows_fence is None:
        return
    broken = sorted({problem["row"] for problem in upload.first_problems if problem["row"]})
    for row in archive.read_rows(upload.pk, upload.rows_fence, broken):
        if row.reason:
            yield row.number, row.reason


def left_out_by_recipe(batch: Batch) -> Iterator[tuple[int, str]]:
    run = batch.runs.exclude(left_out_fence=None).order_by("-pk").first()
    if run is not None:
        for row in archive.iterate_left_out(run.pk, run.left_out_fence):
            yield row.number, row.reason


def without_row(reason: str) -> str:
    """A reason without the row that it begins with, for where that is said already."""
    return NAMED_ROW.sub("", reason)


def not_sent(batch: Batch) -> Iterator[Group]:
    """Parts that never left, one group for each reason."""
    parts = list(batch.message_batches.visible().order_by("part"))
    replaced = superseded(parts)
    counted = [part for part in parts if part.pk not in replaced]
    by_reason: dict[str, list[MessageBatch]] = {}
    for part in counted:
        if part.state in part.NOT_SENT:
            by_reason.setdefault(part.reason or "Canceled before it was sent.", []).append(part)
    for reason, unsent in by_reason.items():
        number = sum(part.size - part.counted_elsewhere(parts) for part in unsent)
        # Most reasons name their part themselves.
        said = reason if "part" in reason.lower() else f"{name_parts(unsent)}: {reason}"
        if any(part.was_left for part in unsent):
            advice = Advice(said)
        elif any(part.unknown_at for part in unsent):
            advice = Advice(f"Billed only if it was created after all. {said}")
        else:
            advice = Advice(f"Not billed. {said}")
        yield Group(
            "Not sent",
            number,
            advice,
            first_unsent(unsent[0]),
            way="retry" if len(by_reason) == 1 else "",
            retry_query=urlencode({"type": NOT_SENT}),
        )


def name_parts(parts: list[MessageBatch]) -> str:
    if len(parts) > 3:
        return f"{count(len(parts), 'part')}, the first of them part {parts[0].part:,}"
    *first, last = (f"{part.part:,}" for part in parts)
    return f"Parts {', '.join(first)} and {last}" if first else f"Part {last}"


def first_unsent(part: MessageBatch) -> list[Example]:
    requests = Request.objects.of(part.pk).order_by("pk")[:1]
    return [Example(request.row, request.own_id, "") for request in requests]


def errored(batch: Batch) -> Iterator[Group]:
    for kind, concerns in sorted(batch.concerns.items()):
        if kind == Result.Type.SUCCEEDED:
            continue
        for concern, number in most_first(concerns):
            title = f"Errored: {concern}" if kind == Result.Type.ERRORED else f"Ended as {kind}"
            chosen, advice = Filter(error=concern), advise(kind, concern) or UNKNOWN_ERROR
            yield answered(batch, title, number, advice, chosen, way_of(kind, concern))


def by_type(batch: Batch) -> Iterator[Group]:
    for kind, advice in TYPES.items():
        if number := getattr(batch, kind):
            chosen = Filter(type=kind)
            yield answered(batch, kind.capitalize(), number, advice, chosen, way_of(kind, None))


def looks(batch: Batch) -> Iterator[Group]:
    for concern, number in most_first(batch.concerns.get(Result.Type.SUCCEEDED, {})):
        chosen = Filter(stop=concern)
        title = TITLES.get(concern, f"Succeeded, but ended with {concern}")
        advice, way = LOOKS.get(concern, UNKNOWN_LOOK), way_of(Result.Type.SUCCEEDED, concern)
        yield answered(batch, title, number, advice, chosen, way)


def answered(
    batch: Batch, title: str, number: int, advice: Advice, chosen: Filter, way: str
) -> Group:
    return Group(title, number, advice, find_example(batch, chosen), chosen, way, chosen.query)


def most_first(concerns: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(concerns.items(), key=lambda one: (-one[1], one[0]))


def find_example(batch: Batch, chosen: Filter) -> list[Example]:
    return [
        Example(result.row, result.request.own_id, result.preview)
        for result in first_from(batch, chosen, 0, 1)
    ]
