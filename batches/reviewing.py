"""A draft right before it is paid for: what would be sent, what that costs, what is in the way."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import msgspec
from django.db import transaction

from batches import estimating
from batches.calling import recount_waiting, why_no_key
from batches.choosing import PartChoice, part_choices
from batches.costing import Bar, at_most
from batches.findings import Findings
from batches.forecasting import Forecast, fit, forecast, trial_of
from batches.models import Batch, Estimate, MessageBatch, Run, Worker
from batches.planning import Selection, count_parts
from batches.recipe import REQUEST_LIMIT
from batches.starting import same_batch, start
from batches.words import count
from leases.models import CRASH_LIMIT
from workspaces.models import ApiKey

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SHOWN_SECRETS = 5
NOT_CHECKED = "The rows are still being checked."


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at; `row` is where to look where something is not as it should."""

    sentence: str
    good: bool = True
    row: int = 0


class Obstacle(msgspec.Struct, frozen=True):
    """Why nothing can be sent now; `place` is the page where that is mended.

    `way_out` is what somebody who may send can do about it on the spot.
    """

    fact: str
    place: str = ""
    way_out: str = ""

    @property
    def sentence(self) -> str:
        return f"{self.fact} {self.way_out}".rstrip()


class Review:
    """A draft with what was chosen of it; `again` says to pay a second time for a twin."""

    def __init__(
        self, batch: Batch, selection: Selection, at: datetime, *, again: bool = False
    ) -> None:
        self.batch, self.selection, self.at, self.again = batch, selection, at, again
        self.key: ApiKey | None = batch.workspace.live_key()
        self.estimate: Estimate = estimating.ask(batch, at)
        ready = self.estimate.state == Estimate.State.READY
        self.findings = msgspec.convert(self.estimate.findings, Findings) if ready else None

    @property
    def sandboxed(self) -> bool:
        return self.key is not None and self.key.api == ApiKey.Api.SANDBOX

    @property
    def free(self) -> int:
        """Rows that can be sent and were not."""
        if self.findings is None:
            return self.most
        sent = self.batch.sent if self.batch.parts else 0
        return max(self.findings.rows - sent, 0)

    @property
    def most(self) -> int:
        """As many as there may be at all, as long as the rows are not checked."""
        upload = self.batch.upload
        return upload.rows - upload.problems.get("rows", 0) if upload else 0

    @property
    def chosen(self) -> int:
        if self.selection.kind in ("first", "sample"):
            return min(self.selection.count, self.free)
        return self.free

    @property
    def left_out(self) -> int:
        return self.findings.left_out if self.findings else 0

    @property
    def _row(self) -> str:
        return self.batch.upload.row_word.lower() if self.batch.upload else "row"

    @property
    def left_out_agreed(self) -> bool:
        return self.left_out <= self.batch.leave_out

    @cached_property
    def twin(self) -> Batch | None:
        upload = self.batch.upload
        return same_batch(upload, self.batch.recipe, self.batch) if upload else None

    @property
    def worker_is_silent(self) -> bool:
        return not Worker.objects.alive(self.at).exists()

    @property
    def mean_size(self) -> float:
        return self.findings.bytes / self.findings.rows if self.findings else 0.0

    @cached_property
    def parts(self) -> int:
        return count_parts(self.chosen, self.mean_size, self.selection.part_size)

    @cached_property
    def part_choices(self) -> list[PartChoice]:
        return part_choices(self.chosen, self.mean_size, self.selection.part_size)

    @cached_property
    def forecast(self) -> Forecast | None:
        if self.findings is None or not self.chosen:
            return None
        return forecast(self.findings, self.chosen, trial_of(self.batch))

    @property
    def likely(self) -> str:
        """`$3.90 to $5.20`."""
        span = self.forecast.span if self.forecast else None
        return span.band(" to ") if span else ""

    @property
    def bar(self) -> Bar | None:
        span = self.forecast.span if self.forecast else None
        return Bar(span) if span else None

    @cached_property
    def first_request(self) -> bytes:
        """The first row that can be sent, as the JSON that is sent for it."""
        row = self.findings.first_row if self.findings else 0
        rendered = estimating.render_row(self.batch, row) if row else None
        return rendered.params if rendered else b""

    @property
    def is_checking(self) -> bool:
        return self.findings is None and self.estimate.state == Estimate.State.QUEUED

    @property
    def checks(self) -> list[Check]:
        if self.findings is None or not self.findings.rows:
            return []
        models = {group.model for group in self.findings.groups}
        return [
            *check_requests(self.batch, self.findings),
            *check_models(models, self.findings, self.key),
            *check_secrets(self.findings),
        ]

    @cached_property
    def obstacles(self) -> list[Obstacle]:
        """What keeps the button from being pressed, the worst first."""
        return [*self._about_rows(), *self._about_key(), *self._about_agreement()]

    def _about_rows(self) -> Iterator[Obstacle]:
        yield from about_what_turned_up(self.batch)
        estimate = self.estimate
        if estimate.state == Estimate.State.REFUSED:
            yield Obstacle(estimate.reason, "recipe")
        elif estimate.crashes >= CRASH_LIMIT:
            said = f"Checking the rows stopped {count(estimate.crashes, 'worker')}."
            yield Obstacle(said, "start_again")
        elif self.findings is None:
            yield Obstacle(NOT_CHECKED)
        elif not self.findings.rows:
            said = f"No {self._row} can be sent: {count(self.left_out, self._row)} left out."
            yield Obstacle(said, "file")
        elif not self.chosen:
            yield Obstacle("No row is left to send.")

    def _about_key(self) -> Iterator[Obstacle]:
        key = self.key
        if key is None:
            yield Obstacle("The workspace has no API key.", "key")
        elif key.why_unusable():
            yield Obstacle(why_no_key(self.batch.workspace), "key")
        elif key.refused and not key.spend_limited:
            yield Obstacle(f"The API refuses this workspace's key: {key.refused}", "key")

    def _about_agreement(self) -> Iterator[Obstacle]:
        if self.findings is None or not self.findings.rows:
            return
        if not self.left_out_agreed:
            rows = count(self.left_out, self._row)
            one = self.left_out == 1
            way_out = f"Agree to leave {'it' if one else 'them'} out, or mend the file."
            yield Obstacle(f"{rows} cannot be sent.", way_out=way_out)
        if self.twin is not None and not self.again:
            way_out = "Agree to pay twice, or open that one."
            yield Obstacle(f"#{self.twin.pk} sends the same.", way_out=way_out)

    def price(self) -> str:
        """What is paid at most, for a sentence."""
        if self.sandboxed:
            return "nothing is billed"
        span = self.forecast.span if self.forecast else None
        return f"at most {at_most(span.most)}" if span else "cost not known"

    def freeze(self) -> dict[str, Any]:
        frozen = self.forecast.freeze() if self.forecast else {}
        return {**frozen, "parts": self.parts, "api": self.key.api if self.key else ""}

    def send(self, token: str, actor: "User") -> Run:
        """Queue the Run; called under `one_at_a_time`, where nothing is in the way."""
        requests = count(self.chosen, "request")
        run = start(
            self.batch,
            self.selection,
            self.at,
            token=token,
            actor=actor,
            estimate=self.freeze(),
            sentence=f"{actor.get_username()} pressed Send {requests} ({self.price()}).",
        )
        # What is chosen next is of the rest.
        rest = Selection(kind="rest", part_size=self.selection.part_size)
        Batch.objects.filter(pk=self.batch.pk).update(selection=msgspec.to_builtins(rest))
        if self.key is not None and self.key.spend_limited:
            # A person who presses says that it is worth trying again.
            self.key.forgive()
            # What else waits for the key is locked in an order of its own.
            transaction.on_commit(partial(recount_waiting, self.batch.workspace_id))
        return run


def token_of(batch: Batch) -> str:
    """The token of the next press: the same for all who look at the draft as it is now."""
    newest = batch.runs.order_by("-pk").values_list("pk", flat=True).first()
    return f"after-{newest or 0}"


def about_what_turned_up(batch: Batch) -> Iterator[Obstacle]:
    """Rows that were given up, and for which the API has a batch after all, would be paid twice."""
    for part in batch.message_batches.filter(state=MessageBatch.State.DROPPED).order_by("part"):
        if part.turned_up:
            fact = f"A batch of part {part.part:,} turned up at the API."
            yield Obstacle(fact, "overview", way_out="Say first what becomes of it.")


def check_requests(batch: Batch, found: Findings) -> Iterator[Check]:
    id_column = batch.recipe.get("id_column", "")
    of = f", from the column `{id_column}`" if id_column else ""
    yield Check(f"{count(found.rows, 'id')}, each one once{of}" if found.rows > 1 else "One id")
    yield Check(
        f"The largest request is {size(found.largest)} of {size(REQUEST_LIMIT)}, "
        f"row {found.largest_row:,}"
    )


def check_models(models: set[str], found: Findings, key: ApiKey | None) -> Iterator[Check]:
    listed = {model["id"]: model for model in (key.models if key else [])}
    for name in sorted(models):
        model = find_model(name, listed)
        if listed and model is None:
            yield Check(f"`{name}` is not in the list of models of this key", good=False)
        if model and model.get("lifecycle") == "deprecated":
            until = str(model.get("retires_at") or "")[:10]
            day = f" and is retired on {until}" if until else ""
            yield Check(f"`{name}` is deprecated{day}", good=False)
        if model:
            yield from check_length(name, model, found)
    if any(group.searches for group in found.groups):
        yield Check("Web searches are billed beside the tokens: $10 for 1,000", good=False)


def check_length(name: str, model: Mapping[str, Any], found: Findings) -> Iterator[Check]:
    """Whether the longest request fits the model's context, with its answer."""
    room = model.get("max_input_tokens")
    group = next(group for group in found.groups if group.model == name)
    if not room or not group.counted:
        return
    line = fit(group.counted)
    tokens = line.tokens(group.largest) * line.worst
    said = f"The longest request has about {tokens:,.0f} tokens; `{name}` takes {room:,}"
    yield Check(said, good=tokens + group.most_output <= room)


def find_model(name: str, listed: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """By its id, or by the same one without its day."""
    full = next((id for id in listed if id.startswith(f"{name}-20")), name)
    return listed.get(full)


def check_secrets(found: Findings) -> Iterator[Check]:
    if not found.secret_rows:
        yield Check("No row looks like it holds a key or a password")
    for secret in found.secrets[:SHOWN_SECRETS]:
        sentence = f"Row {secret.row:,} looks like it holds a secret ({secret.start}…)"
        yield Check(sentence, good=False, row=secret.row)
    if (more := found.secret_rows - min(len(found.secrets), SHOWN_SECRETS)) > 0:
        yield Check(f"{count(more, 'more row')} like that", good=False)


def size(number: int) -> str:
    if number >= 1_000_000:
        return f"{number / 1e6:,.1f} MB".replace(".0 ", " ")
    return f"{number / 1e3:,.0f} KB" if number >= 1_000 else count(number, "byte")
