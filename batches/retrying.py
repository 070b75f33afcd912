"""Rows that are sent once more within their Batch: which may be, and the press that does it.

What expired, was canceled, is missing or failed in passing goes as it is. What is wrong as it is,
and an answer that was cut off, refused or does not fit, goes with another recipe only. A row that
plainly succeeded never goes.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from django.db import IntegrityError, transaction
from django.db.models import Q

from batches.concerns import needs_another_recipe
from batches.models import Batch, MessageBatch, Request, Result, Run, Upload
from batches.models.index import CHUNK, POSITION_BITS
from batches.planning import NOT_SENT, Selection
from batches.recipe import digest

if TYPE_CHECKING:
    from django.contrib.auth.models import User

State = MessageBatch.State
# Only what nothing more comes for can be sent again.
SETTLED = frozenset({State.STORED, State.LOST})
MOST_ROWS = 1_000
SUCCEEDED = Result.Type.SUCCEEDED


# Why a row that is named does not go: it needs nothing, or another recipe, or its part is not done.
HELD = ("succeeded", "unedited", "unsettled")
# Type and concern.
Answer = tuple[str, str | None]


class CannotRetry(Exception):
    """Nothing is sent again; the sentence says why."""


class Found(NamedTuple):
    """A row that a selection takes; `part` of its newest answer is 0 where it has none."""

    row: int
    part: int = 0
    type: str = NOT_SENT
    concern: str | None = None


class Tally:
    """How many rows a selection takes, and of those that it names how many it does not, and why.

    By type and concern of their newest answers.
    """

    def __init__(self) -> None:
        self.chosen: Counter[Answer] = Counter()
        self.held: dict[str, Counter[Answer]] = {reason: Counter() for reason in HELD}

    def add(self, verdict: str, answer: Answer, number: int) -> None:
        if number:
            (self.held[verdict] if verdict else self.chosen)[answer] += number

    @property
    def rows(self) -> int:
        return self.chosen.total()

    @property
    def billed(self) -> int:
        """Answers that were paid, and are paid once more."""
        return sum(number for (kind, _), number in self.chosen.items() if kind == SUCCEEDED)

    @property
    def perhaps_billed(self) -> int:
        return self.chosen[Result.Type.MISSING, None]

    def count_held(self, reason: str) -> int:
        return self.held[reason].total()

    def has(self, concern: str) -> bool:
        """Whether a row with that concern is named, whether it goes or not."""
        named = (self.chosen, *self.held.values())
        return any(one == concern for answers in named for _, one in answers)


class Wish:
    """What somebody wants to be sent again, and the recipe for it: none for ready requests."""

    def __init__(self, batch: Batch, selection: Selection, recipe: dict[str, Any]) -> None:
        self.batch, self.selection, self.recipe = batch, selection, recipe

    @cached_property
    def parts(self) -> dict[int, MessageBatch]:
        parts = self.batch.message_batches.visible().select_related("run").order_by("pk")
        return {part.pk: part for part in parts}

    def frozen_selection(self) -> Selection:
        """What is chosen, among what has been counted."""
        ended = SETTLED | MessageBatch.NOT_SENT
        among = [pk for pk, part in self.parts.items() if part.state in ended]
        return msgspec.structs.replace(self.selection, among=among)

    @cached_property
    def _edited(self) -> dict[int | None, bool]:
        runs = {part.run_id: part.run for part in self.parts.values()}
        return {pk: self._differs(run) for pk, run in runs.items()}

    def _differs(self, run: Run | None) -> bool:
        if run is None:
            return False
        before = run.selection.get("max_tokens", 0)
        return digest(self.recipe) != digest(run.recipe) or self.selection.max_tokens > before

    @property
    def is_of_ready_requests(self) -> bool:
        upload = self.batch.upload
        return upload is not None and upload.kind == Upload.Kind.REQUESTS

    def names(self, kind: str, concern: str | None) -> bool:
        """Whether the selection names answers of this type and concern."""
        chosen = self.selection
        known = kind in Result.Type.values
        # A type that is newer than this program counts as errored.
        if kind in chosen.types or (not known and Result.Type.ERRORED in chosen.types):
            return kind != SUCCEEDED or concern is not None
        return concern is not None and concern in chosen.concerns

    def names_some_of(self, part: MessageBatch) -> bool:
        return any(self.names(kind, concern) for kind, concern, _ in cells(part))

    def parts_of(self, rows: Collection[int]) -> set[int]:
        """The parts that have some of these rows."""
        return {part for _, part in self._requests(rows)}

    def verdict(self, kind: str, concern: str | None, part: int) -> str:
        """Empty where a row with such an answer in this part may go; else what of Tally it is."""
        if kind == SUCCEEDED and concern is None:
            return "succeeded"
        of = self.parts[part]
        if of.state not in SETTLED or not self._is_among(part):
            return "unsettled"
        if needs_another_recipe(kind, concern) and not self._mends(concern, of.run_id):
            return "unedited"
        return ""

    @cached_property
    def _among(self) -> frozenset[int] | None:
        among = self.selection.among
        return None if among is None else frozenset(among)

    def _is_among(self, part: int) -> bool:
        return self._among is None or part in self._among

    def _is_unsent(self, part: int) -> bool:
        return self.parts[part].is_free and self._is_among(part)

    def _mends(self, concern: str | None, run_id: int | None) -> bool:
        # Of a ready request only max_tokens can be another one here.
        possible = not self.is_of_ready_requests or concern == "max_tokens"
        return possible and self._edited[run_id]

    def tally(self) -> Tally:
        """By the counters of the parts; rows that are named one by one are looked up."""
        tally = Tally()
        if self.selection.rows:
            for found in self._named_rows():
                tally.add(self._judge(found), (found.type, found.concern), 1)
            return tally
        for part in self.parts.values():
            for kind, concern, number in cells(part):
                if self.names(kind, concern):
                    tally.add(self.verdict(kind, concern, part.pk), (kind, concern), number)
        if NOT_SENT in self.selection.types:
            tally.add("", (NOT_SENT, None), self.batch.not_sent)
        return tally

    def find(self) -> Iterator[Found]:
        """The rows that may go, one by one."""
        found = self._named_rows() if self.selection.rows else self._answered_rows()
        yield from (one for one in found if not self._judge(one))

    def _judge(self, found: Found) -> str:
        if found.part:
            return self.verdict(found.type, found.concern, found.part)
        return "" if found.type == NOT_SENT else "unsettled"

    def _answered_rows(self) -> Iterator[Found]:
        chosen = self.selection
        kinds = {kind for part in self.parts.values() for kind in part.answers}
        types = [kind for kind in kinds if self.names(kind, "any")]
        wanted = Q(type__in=types) | Q(concern__in=chosen.concerns)
        answers = Result.objects.counting(self.batch).filter(wanted)
        answers = answers.exclude(type=SUCCEEDED, concern=None)
        for pk, *values in answers.values_list("pk", "row", "type", "concern").iterator(CHUNK):
            row, kind, concern = values
            yield Found(row, pk >> POSITION_BITS, kind, concern)
        if NOT_SENT in chosen.types:
            yield from map(Found, self.unsent_rows())

    def _named_rows(self) -> Iterator[Found]:
        rows = set(self.selection.rows[:MOST_ROWS])
        answers = {found.row: found for found in answers_of(self.batch, rows)}
        yield from answers.values()
        asked = self._requests(rows)
        taken = {row for row, part in asked if not self._is_unsent(part)}
        for row in sorted({row for row, _ in asked} - answers.keys()):
            yield Found(row, type="" if row in taken else NOT_SENT)

    def _requests(self, rows: Collection[int]) -> list[tuple[int, int]]:
        asked = Request.objects.filter(batch=self.batch, row__in=rows)
        pairs = ((row, pk >> POSITION_BITS) for row, pk in asked.values_list("row", "pk"))
        return [(row, part) for row, part in pairs if part in self.parts]

    def unsent_rows(self) -> set[int]:
        """Rows of parts that were never sent, and of no part that was or may be."""
        unsent: set[int] = set()
        for part in self.parts:
            if self._is_unsent(part):
                unsent.update(Request.objects.of(part).values_list("row", flat=True))
        for some in in_chunks(unsent):
            unsent -= {row for row, part in self._requests(some) if not self._is_unsent(part)}
        return unsent


def cells(part: MessageBatch) -> Iterator[tuple[str, str | None, int]]:
    """Type, concern, and how many: all answers of a part that count, by its counters."""
    for kind, number in part.answers.items():
        concerns = part.concerns.get(kind, {})
        for concern, of_them in concerns.items():
            yield kind, concern, of_them
        if plain := number - sum(concerns.values()):
            yield kind, None, plain


def in_chunks(rows: Collection[int]) -> Iterator[list[int]]:
    ordered = sorted(rows)
    for start in range(0, len(ordered), CHUNK):
        yield ordered[start : start + CHUNK]


def answers_of(batch: Batch, rows: Collection[int]) -> Iterator[Found]:
    """The newest answer of each of these rows that has one."""
    for some in in_chunks(rows):
        answers = Result.objects.answers_of(batch, some)
        for pk, row, kind, concern in answers.values_list("pk", "row", "type", "concern"):
            yield Found(row, pk >> POSITION_BITS, kind, concern)


def is_repeatable(found: Found) -> bool:
    """Whether a person may say that a row with this answer is sent again, whatever it is."""
    return found.type != SUCCEEDED or found.concern is not None


def retry(
    wish: Wish,
    at: datetime,
    *,
    token: str,
    estimate: dict[str, Any] | None = None,
    actor: "User | None" = None,
    sentence: str,
) -> Run:
    """One press: freeze the recipe and what is chosen, and queue the Run.

    Raises CannotRetry where somebody else has begun a Run since.
    """
    batch = wish.batch
    try:
        with transaction.atomic():
            Batch.hold(batch.pk)
            run = Run.objects.create(
                batch=batch,
                token=token,
                recipe=wish.recipe,
                selection=msgspec.to_builtins(wish.frozen_selection()),
                requested_by=actor,
                requested_at=at,
                estimate=estimate,
                state=Run.State.QUEUED,
                due_at=at,
            )
            batch.record("run", sentence, actor=actor, at=at, run=run.pk)
            batch.recount()
    except IntegrityError:
        raise CannotRetry("Another run of this batch is being built.") from None
    return run
