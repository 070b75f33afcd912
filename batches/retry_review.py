"""Rows right before they are sent once more: which, with which recipe, at what price, what hinders.

The page and `retry_batch` show the same and press the same button.
"""

from collections.abc import Iterator
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import msgspec
from django.db import transaction

from batches import archive, estimating
from batches.calling import recount_waiting, why_no_key
from batches.costing import at_most
from batches.drafts import limits_of
from batches.findings import Finder, Findings
from batches.forecasting import Forecast, forecast
from batches.limits import ReadyRenderer
from batches.models import Batch, Estimate, Run, Worker
from batches.planning import NOT_SENT, Selection, count_parts
from batches.problems import Problem
from batches.recipe import MOST_TOKENS, Recipe, Rendered, Renderer, check
from batches.retry_words import name, say_held
from batches.retrying import CannotRetry, Tally, Wish, retry
from batches.reviewing import Obstacle, about_what_turned_up
from batches.words import count
from leases.models import CRASH_LIMIT
from workspaces.models import ApiKey

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# So many rows are rendered while a person waits, to know what they cost.
MOST_RENDERED = 2_000
RAISED = 4  # times
DEFAULT_TOKENS = Recipe(model="", prompt="").max_tokens


def edited_recipe(batch: Batch) -> dict[str, Any]:
    """The recipe that somebody has edited for a retry; {} where nobody has."""
    return dict(batch.typed.get("retry") or {})


def can_retry(batch: Batch) -> bool:
    """Whether its rows can be sent from here at all: it was made here, and its file is kept."""
    upload = batch.upload
    if upload is None or upload.rows_fence is None or not batch.runs.exists():
        return False
    return archive.rows(upload.pk, upload.rows_fence).exists()


class RetryReview:
    """What a selection of rows comes to; `max_tokens` is as typed, None where nobody has."""

    def __init__(
        self,
        batch: Batch,
        selection: Selection,
        at: datetime,
        *,
        edited: bool = False,
        max_tokens: str | None = None,
        asks: bool = True,
    ) -> None:
        """Without `asks` only what a worker has estimated before is known of the price."""
        self.batch, self.at, self.typed, self.asks = batch, at, max_tokens, asks
        self.key: ApiKey | None = batch.workspace.live_key()
        self.limits = limits_of(batch.workspace)
        self.edited = edited and bool(edited_recipe(batch))
        self._named = selection
        self._before = Wish(batch, selection, batch.recipe)

    @property
    def is_of_ready_requests(self) -> bool:
        return self._before.is_of_ready_requests

    @cached_property
    def _named_tally(self) -> Tally:
        return self._before.tally()

    @cached_property
    def sent_with(self) -> dict[str, Any]:
        """The recipe that the rows were sent with; of several the newest."""
        parts = self._before.parts
        if self._named.rows:
            asked = self._before.parts_of(self._named.rows)
        else:
            asked = {pk for pk, part in parts.items() if self._before.names_some_of(part)}
        runs = [parts[pk].run for pk in sorted(asked)]
        recipes = [run.recipe for run in runs if run is not None and run.recipe]
        return dict(recipes[-1]) if recipes else dict(self.batch.recipe)

    @cached_property
    def base(self) -> dict[str, Any]:
        """The recipe before max_tokens is raised."""
        return edited_recipe(self.batch) if self.edited else self.sent_with

    @property
    def sent_max_tokens(self) -> int:
        """Of ready requests the largest that is known; 0 where none is."""
        if not self.is_of_ready_requests:
            return int(self.sent_with.get("max_tokens", 0) or DEFAULT_TOKENS)
        runs = self.batch.runs.values_list("selection", flat=True)
        raised = max((one.get("max_tokens", 0) for one in runs), default=0)
        groups = self.findings_before.groups if self.findings_before else []
        return max([raised, *(group.most_output for group in groups)])

    @property
    def was_cut_off(self) -> bool:
        return self._named_tally.has("max_tokens")

    @property
    def unraised(self) -> str:
        """What stands in the field where nothing is raised."""
        if self.is_of_ready_requests:
            return ""
        return str(self.base.get("max_tokens", 0) or self.sent_max_tokens)

    @cached_property
    def max_tokens(self) -> str:
        """What stands in the field: as typed, else the one before, or more where that was short."""
        if self.typed is not None:
            return self.typed
        given = int(self.base.get("max_tokens", 0) or self.sent_max_tokens)
        if not self.was_cut_off or given > self.sent_max_tokens or not given:
            return str(given or "")
        most = self.limits.most_tokens(self.base.get("model", "")) or MOST_TOKENS
        return str(min(given * RAISED, most))

    @property
    def most_tokens(self) -> int | None:
        return self.limits.most_tokens(self.base.get("model", ""))

    @cached_property
    def wanted_tokens(self) -> int | None:
        """The number in the field; None where it is none."""
        text = self.max_tokens.strip().replace(",", "")
        if not text and self.is_of_ready_requests:
            return 0
        short = text.isascii() and text.isdigit() and len(text) <= len(str(MOST_TOKENS))
        return int(text) if short and 1 <= int(text) <= MOST_TOKENS else None

    @cached_property
    def wish(self) -> Wish:
        tokens = self.wanted_tokens or 0
        if self.is_of_ready_requests:
            raised = tokens if tokens > self.sent_max_tokens else 0
            selection = msgspec.structs.replace(self._named, max_tokens=raised)
            return Wish(self.batch, selection, {})
        recipe = self.base
        if tokens and tokens != recipe.get("max_tokens"):
            recipe = {**recipe, "max_tokens": tokens}
        return Wish(self.batch, self._named, recipe)

    @cached_property
    def tally(self) -> Tally:
        return self.wish.tally()

    @property
    def rows(self) -> int:
        return self.tally.rows

    @property
    def chosen(self) -> list[tuple[str, int]]:
        """What goes, in words, the most first."""
        return [(name(answer), number) for answer, number in self.tally.chosen.most_common()]

    @property
    def held(self) -> list[str]:
        """Sentences on rows that were named and do not go."""
        return list(say_held(self.tally, self.is_of_ready_requests))

    @property
    def have_answers(self) -> bool:
        return self.rows > self.tally.chosen[NOT_SENT, None]

    @property
    def may_be_there(self) -> bool:
        """Whether rows that count as not sent go of a part that the API may have after all."""
        if not self.tally.chosen[NOT_SENT, None]:
            return False
        parts = list(self.wish.parts.values())
        given_up = [part for part in parts if part.state == part.State.DROPPED and part.unknown_at]
        if self._named.rows:
            named = self.wish.parts_of(self._named.rows)
            return any(part.pk in named for part in given_up)
        return any(part.counted_elsewhere(parts) < part.size for part in given_up)

    @property
    def can_be_mended(self) -> bool:
        """Whether another prompt would let more of the rows go."""
        return not self.is_of_ready_requests

    @cached_property
    def problems(self) -> list[Problem]:
        """What is wrong with the recipe, or with what was typed."""
        if self.wanted_tokens is None:
            typed = self.max_tokens[:40]
            what = f"`{typed}` is not a whole number." if typed else "No number."
            return [Problem(what, field="max_tokens", fix="Write a whole number from 1.")]
        if self.was_cut_off and not self.edited and self._lowers():
            what = f"The answers were cut off at {self.sent_max_tokens:,} tokens."
            return [Problem(what, field="max_tokens", fix="Write more than that.")]
        return [] if self.is_of_ready_requests else self._recipe_problems()

    def _lowers(self) -> bool:
        return bool(self.wanted_tokens) and (self.wanted_tokens or 0) < self.sent_max_tokens

    def _recipe_problems(self) -> list[Problem]:
        if not self.base:
            # What was made elsewhere has none; `obstacles` says what that means.
            return []
        upload = self.batch.upload
        recipe = msgspec.convert(self.wish.recipe, Recipe)
        columns = upload.columns if upload else []
        return check(recipe, columns, most_tokens=self.most_tokens)

    @cached_property
    def _estimate(self) -> Estimate | None:
        if not self._can_be_estimated:
            return None
        if self.asks:
            return estimating.ask(self.batch, self.at)
        known = Estimate.objects.filter(batch=self.batch, digest=estimating.digest_of(self.batch))
        return known.first()

    @property
    def is_checking(self) -> bool:
        """Whether a worker is still at what the requests of the Batch cost."""
        found = self._estimate
        return found is not None and found.due_at is not None and found.crashes < CRASH_LIMIT

    @cached_property
    def findings_before(self) -> Findings | None:
        """What was found in all rows with the recipe of the Batch; None until a worker has."""
        found = self._estimate
        if found is None or found.state != Estimate.State.READY:
            return None
        return msgspec.convert(found.findings, Findings)

    @property
    def _can_be_estimated(self) -> bool:
        upload = self.batch.upload
        if upload is None or upload.rows_fence is None:
            return False
        return archive.rows(upload.pk, upload.rows_fence).exists()

    @cached_property
    def findings(self) -> Findings | None:
        """What is in the requests that would be sent, as far as it is known without sending."""
        if self.findings_before is None or not self.rows or self.problems:
            return None
        if self.rows <= MOST_RENDERED:
            return self._rendered()
        with_tokens = {**self.wish.recipe, "max_tokens": self.batch.recipe.get("max_tokens")}
        same = not self.is_of_ready_requests and with_tokens == self.batch.recipe
        same = same or (self.is_of_ready_requests and not self.wish.selection.max_tokens)
        return self._with_tokens(self.findings_before) if same else None

    def _rendered(self) -> Findings:
        upload, finder = self.batch.upload, Finder()
        if upload is None:
            return finder.findings
        render: Renderer | ReadyRenderer = ReadyRenderer(
            self.limits, self.wish.selection.max_tokens
        )
        if not self.is_of_ready_requests:
            render = Renderer(msgspec.convert(self.wish.recipe, Recipe), upload.columns)
        numbers = sorted(found.row for found in self.wish.find())
        for row in archive.read_rows(upload.pk, upload.rows_fence or 0, numbers):
            rendered = render.render(row)
            if isinstance(rendered, Rendered):
                finder.take(row.number, rendered)
            else:
                finder.leave_out(rendered)
        known = {group.model: group for group in self._groups_before}
        for group in finder.findings.groups:
            if group.model in known:
                group.counted = known[group.model].counted
        return finder.findings

    @property
    def _groups_before(self) -> list[Any]:
        return self.findings_before.groups if self.findings_before else []

    def _with_tokens(self, found: Findings) -> Findings:
        tokens = self.wanted_tokens or 0
        for group in found.groups:
            if not self.is_of_ready_requests:
                group.most_output, group.output = tokens, tokens * group.rows
        return found

    @property
    def unsendable(self) -> int:
        """Rows that this recipe cannot send: what came of them the first time stays."""
        return self.findings.left_out if self.findings and self.rows <= MOST_RENDERED else 0

    @property
    def requests(self) -> int:
        return self.rows - self.unsendable

    @cached_property
    def forecast(self) -> Forecast | None:
        found = self.findings
        return forecast(found, self.requests) if found and found.rows and self.requests else None

    @property
    def sandboxed(self) -> bool:
        return self.key is not None and self.key.api == ApiKey.Api.SANDBOX

    def price(self) -> str:
        """What is paid at most, for a button and a sentence."""
        span = self.forecast.span if self.forecast else None
        if self.sandboxed:
            return "nothing is billed"
        return f"at most {at_most(span.most)}" if span else "cost not known"

    @property
    def worker_is_silent(self) -> bool:
        return not Worker.objects.alive(self.at).exists()

    @cached_property
    def obstacles(self) -> list[Obstacle]:
        return [*self._about_batch(), *self._about_key(), *self._about_rows()]

    def _about_batch(self) -> Iterator[Obstacle]:
        batch = self.batch
        if not batch.runs.exists():
            yield Obstacle("This batch was not made here: its rows cannot be sent from here.")
        elif not self._can_be_estimated:
            yield Obstacle("The file of this batch is not here any more.")
        elif batch.runs.filter(state__in=[Run.State.QUEUED, Run.State.AWAITING]).exists():
            yield Obstacle("A run of this batch is being built. Retry when it is sent.", "overview")
        elif NOT_SENT in self._named.types:
            yield from about_what_turned_up(batch)

    def _about_key(self) -> Iterator[Obstacle]:
        key = self.key
        if key is None:
            yield Obstacle("The workspace has no API key.", "key")
        elif key.why_unusable():
            yield Obstacle(why_no_key(self.batch.workspace), "key")
        elif key.refused and not key.spend_limited:
            yield Obstacle(f"The API refuses this workspace's key: {key.refused}", "key")

    def _about_rows(self) -> Iterator[Obstacle]:
        if self.requests or not self.batch.runs.exists():
            return
        if not self.tally.held["unedited"]:
            yield Obstacle("No row is left to send.")
        elif self.is_of_ready_requests:
            yield Obstacle("Nothing of this goes without a new file, or more max tokens.")
        else:
            yield Obstacle("Edit the recipe or raise max tokens to send this again.")

    def freeze(self) -> dict[str, Any]:
        frozen = self.forecast.freeze() if self.forecast else {"requests": self.requests}
        size = self.findings.bytes / self.findings.rows if self.findings and self.forecast else 0
        parts = count_parts(self.requests, size)
        return {**frozen, "parts": parts, "api": self.key.api if self.key else ""}

    def send(self, token: str, actor: "User | None" = None) -> Run:
        """Queue the Run, under `one_at_a_time`; raises CannotRetry where something hinders."""
        hindered: list[Obstacle | Problem] = [*self.obstacles, *self.problems]
        if hindered:
            raise CannotRetry(" ".join(_sentence(one) for one in hindered))
        who = actor.get_username() if actor else "Somebody at a shell"
        rows = count(self.requests, "row")
        changed = self.say_changes()
        run = retry(
            self.wish,
            self.at,
            token=token,
            estimate=self.freeze(),
            actor=actor,
            sentence=f"{who} pressed Retry {rows} ({self.price()}){changed}.",
        )
        if self.edited:
            typed = {name: value for name, value in self.batch.typed.items() if name != "retry"}
            Batch.objects.filter(pk=self.batch.pk).update(typed=typed)
        if self.key is not None and self.key.spend_limited:
            # A person who presses says that it is worth trying again.
            self.key.forgive()
            # What else waits for the key is locked in an order of its own.
            transaction.on_commit(partial(recount_waiting, self.batch.workspace_id))
        return run

    def say_changes(self) -> str:
        """`, max tokens 300 → 1,200` for the story."""
        said = ", with an edited recipe" if self.edited else ""
        if (self.wanted_tokens or 0) > self.sent_max_tokens:
            said += f", max tokens {self.sent_max_tokens:,} → {self.wanted_tokens:,}"
        return said


def _sentence(one: Obstacle | Problem) -> str:
    return one.sentence if isinstance(one, Obstacle) else one.sentence()
