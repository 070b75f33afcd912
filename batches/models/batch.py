"""Batch: what a person made. Run: one press of the button."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from batches.models.fields import OrderedJsonField
from batches.models.upload import Upload
from leases.clock import database_now
from leases.models import Lease
from workspaces.models import ApiKey, Event, Workspace

if TYPE_CHECKING:
    from django.contrib.auth.models import User

TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
)


class Batch(models.Model):
    """One upload, its runs and all their results. `state` is the word that the page shows."""

    class State(models.TextChoices):
        DRAFT = "draft", "Draft"
        BUILDING = "building", "Building"
        QUEUED = "queued", "Queued"
        SENDING = "sending", "Sending"
        IN_PROGRESS = "in_progress", "In progress"
        COLLECTING = "collecting", "Collecting"
        CANCELING = "canceling", "Canceling"
        NEEDS_YOU = "needs_you", "Needs you"
        REFUSED = "refused", "Refused"
        ENDED = "ended", "Ended"

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="batches")
    upload = models.ForeignKey(Upload, models.PROTECT, null=True, related_name="batches")
    name = models.CharField(max_length=200)
    labels = models.JSONField(default=list)
    created_at = models.DateTimeField(default=database_now)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    recipe = OrderedJsonField(default=dict)
    # While the form of a draft is no recipe: {"fields": as typed, "recipe": the last sound one}.
    typed = OrderedJsonField(default=dict)
    # What the review form shows: rows and part size of the next Run.
    selection = models.JSONField(default=dict)
    # So many rows with problems the person agreed to leave out.
    leave_out = models.PositiveIntegerField(default=0)
    saved_at = models.DateTimeField(null=True, blank=True)
    columns = models.JSONField(default=list)
    state = models.CharField(max_length=20, choices=State.choices, default=State.DRAFT)
    rows = models.PositiveIntegerField(default=0)
    left_out = models.PositiveIntegerField(default=0)
    not_sent = models.PositiveIntegerField(default=0)
    sent = models.PositiveIntegerField(default=0)
    succeeded = models.PositiveIntegerField(default=0)
    errored = models.PositiveIntegerField(default=0)
    canceled = models.PositiveIntegerField(default=0)
    expired = models.PositiveIntegerField(default=0)
    missing = models.PositiveIntegerField(default=0)
    # How many answers of each type a person should look at, and why: type, then concern.
    concerns = models.JSONField(default=dict)
    parts = models.PositiveIntegerField(default=0)
    parts_ended = models.PositiveIntegerField(default=0)
    tokens = models.JSONField(default=dict)
    cost = models.DecimalField(max_digits=14, decimal_places=6, null=True, blank=True)
    deleting_at = models.DateTimeField(null=True, blank=True)
    # Whoever deletes it may want it deleted at the API too, before its 29 days are over.
    delete_remote = models.BooleanField(default=False)

    class Meta:
        verbose_name_plural = "batches"
        indexes = [
            # for the list, newest first, whole and by state
            models.Index(fields=["workspace", "-id"], name="batch_newest"),
            models.Index(fields=["workspace", "state", "-id"], name="batch_state_newest"),
            # for the worker that removes what was deleted
            models.Index(
                fields=["deleting_at"],
                condition=Q(deleting_at__isnull=False),
                name="batch_deleting",
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.name}"

    @property
    def answered(self) -> int:
        return self.succeeded + self.errored + self.canceled + self.expired + self.missing

    @property
    def waiting(self) -> int:
        return self.sent - self.answered

    @property
    def not_succeeded(self) -> int:
        """Rows that were sent and came back without an answer."""
        return self.answered - self.succeeded

    @property
    def worth_a_look(self) -> int:
        """Rows that were answered, but cut off, refused, or not in the output format."""
        return sum(self.concerns.get("succeeded", {}).values())

    @property
    def problem_count(self) -> int:
        """Rows that need a person."""
        return self.left_out + self.not_sent + self.not_succeeded + self.worth_a_look

    @property
    def not_chosen(self) -> int:
        """Rows that no Run has taken yet, and that could be sent; 0 until a Run is built."""
        return max(self.rows - self.left_out - self.not_sent - self.sent, 0) if self.parts else 0

    @property
    def is_draft(self) -> bool:
        return self.state == self.State.DRAFT

    @property
    def is_adopted(self) -> bool:
        """Whether it was made elsewhere: its requests and its recipe are not known here."""
        return not self.is_draft and not self.runs.exists()

    @property
    def every_row_succeeded(self) -> bool:
        return self.state == self.State.ENDED and not (
            self.left_out or self.not_sent or self.answered - self.succeeded
        )

    @property
    def final(self) -> bool:
        return self.state in (self.State.ENDED, self.State.REFUSED)

    @staticmethod
    def hold(batch_id: int) -> None:
        """Lock a Batch before anything that is counted in it is changed, in a transaction.

        First, as everywhere: two who lock in different orders would wait for each other. What
        only refers to it may come meanwhile.
        """
        found = Batch.objects.select_for_update(no_key=True).filter(pk=batch_id)
        found.values_list("pk", flat=True).first()

    def record(
        self,
        verb: str,
        sentence: str,
        *,
        actor: "User | None" = None,
        at: datetime | None = None,
        **data: Any,
    ) -> None:
        """Add to the story of this Batch; called inside the transaction of the change."""
        Event.objects.create(
            workspace_id=self.workspace_id,
            subject=f"batch:{self.pk}",
            verb=verb,
            sentence=sentence,
            actor=actor,
            data=data,
            **({"at": at} if at else {}),
        )

    def recount(self) -> None:
        """Write the counters and the word anew, inside the transaction of a part's change."""
        # Two parts of one Batch may change at once; the row lock makes their counts follow.
        before = Batch.objects.select_for_update(no_key=True).get(pk=self.pk)
        parts = list(self.message_batches.visible())
        self._count_answers(parts)
        self._count_parts(parts)
        self.state = self._word(parts)
        self.save(update_fields=[*COUNTED, "state"])
        if self.state == self.State.ENDED != before.state:
            said = f"{self.succeeded:,} of {self.sent:,} succeeded" if self.sent else "nothing sent"
            self.record("batch_ended", f"Ended: {said}.")

    def _count_answers(self, parts: list[Any]) -> None:
        counts: Counter[str] = Counter()
        for part in parts:
            counts.update(part.answers)
        for name in ("succeeded", "errored", "canceled", "expired", "missing"):
            setattr(self, name, counts.pop(name, 0))
        # A type newer than this program is an answer that did not succeed.
        self.errored += sum(counts.values())
        self.concerns = add_concerns([part.concerns for part in parts])

    def _count_parts(self, parts: list[Any]) -> None:
        replaced = superseded(parts)
        current = [part for part in parts if part.pk not in replaced]
        open_parts = [part for part in current if part.state in part.OPEN]
        partly = sum(sum(part.answers.values()) for part in open_parts)
        not_sent = [part for part in current if part.state in part.NOT_SENT]
        self.not_sent = sum(part.size - part.counted_elsewhere(parts) for part in not_sent)
        waiting = sum(part.size - part.counted_elsewhere(parts) for part in open_parts) - partly
        self.sent = self.answered + waiting
        self.tokens = {name: sum(part.tokens.get(name, 0) for part in parts) for name in TOKENS}
        self.cost = _add_costs(parts)
        self.parts = len(current)
        self.parts_ended = sum(part.state not in part.OPEN for part in current)

    def _word(self, parts: list[Any]) -> str:
        """The worst of the parts, in the order that a person should hear of them."""
        words = {part.word for part in parts}
        stuck = self.runs.set_aside().filter(state=Run.State.QUEUED)
        if self._waits_for_key({part.state for part in parts}) or stuck.exists():
            words.add(self.State.NEEDS_YOU)
        for word in (
            self.State.NEEDS_YOU,
            self.State.CANCELING,
            self.State.SENDING,
            self.State.IN_PROGRESS,
            self.State.COLLECTING,
            self.State.QUEUED,
        ):
            if word in words:
                return word
        runs = set(self.runs.values_list("state", flat=True))
        if Run.State.QUEUED in runs:
            return self.State.BUILDING
        if parts:
            return self.State.ENDED
        return self.State.REFUSED if Run.State.REFUSED in runs else self.State.DRAFT

    def _waits_for_key(self, states: set[str]) -> bool:
        """Whether a part of one of these states waits until a refused key is mended."""
        part = self.message_batches.model
        if not states & part.OPEN:
            return False
        live = ApiKey.objects.filter(workspace_id=self.workspace_id, retired_at=None)
        key = live.exclude(refused="").first()
        if key is None:
            return False
        # A spend limit stops sending; what is at the API already is still watched.
        return part.State.QUEUED in states if key.spend_limited else True


def add_concerns(counted: list[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    total: dict[str, dict[str, int]] = {}
    for concerns in counted:
        for kind, numbers in concerns.items():
            sums = total.setdefault(kind, {})
            for concern, number in numbers.items():
                sums[concern] = sums.get(concern, 0) + number
    return total


def superseded(parts: list[Any]) -> set[int]:
    """Of each part and the one that replaces it, the one that does not count.

    The older one; but one that turned up after all counts where the newer was never sent.
    """
    by_id = {part.pk: part for part in parts}
    found = set()
    for part in parts:
        older = by_id.get(part.replaces_id)
        if older is not None:
            unsent = part.state in part.NOT_SENT and older.state not in part.NOT_SENT
            found.add(part.pk if unsent else older.pk)
    return found


def _add_costs(parts: list[Any]) -> Decimal | None:
    """What all parts cost; None as long as one of them is open or has a cost that is not known.

    A part that turned up after it was sent again is paid as well.
    """
    sent = [part for part in parts if part.state not in part.NOT_SENT]
    return add_costs(part.cost for part in sent) if sent else None


def add_costs(costs: Iterable[Decimal | None]) -> Decimal | None:
    """A sum; None as soon as one of them is not known, for a part of a sum is none."""
    total = Decimal(0)
    for one in costs:
        if one is None:
            return None
        total += one
    return total


COUNTED = (
    "not_sent",
    "sent",
    "succeeded",
    "errored",
    "canceled",
    "expired",
    "missing",
    "concerns",
    "parts",
    "parts_ended",
    "tokens",
    "cost",
)


class Run(Lease):
    """A frozen recipe, a selection of rows, who pressed, what it may cost."""

    class State(models.TextChoices):
        AWAITING = "awaiting", "Awaiting approval"
        QUEUED = "queued", "Queued"
        BUILT = "built", "Built"
        REFUSED = "refused", "Refused"

    batch = models.ForeignKey(Batch, models.CASCADE, related_name="runs")
    token = models.CharField(max_length=64)
    recipe = OrderedJsonField()
    selection = models.JSONField(default=dict)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    requested_at = models.DateTimeField(default=database_now)
    estimate = models.JSONField(null=True, blank=True)
    reserved = models.DecimalField(max_digits=14, decimal_places=6, null=True, blank=True)
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    state = models.CharField(max_length=10, choices=State.choices, default=State.AWAITING)
    left_out_fence = models.BigIntegerField(null=True, blank=True)
    reason = models.TextField(blank=True, default="")

    class Meta(Lease.Meta):
        constraints = [
            models.UniqueConstraint(fields=["batch", "token"], name="one_run_per_token"),
            models.UniqueConstraint(
                fields=["batch"], condition=Q(state="queued"), name="one_queued_run_per_batch"
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.pk} of batch {self.batch_id}"

    def hold_counted(self) -> None:
        Batch.hold(self.batch_id)

    def tell_of_being_set_aside(self, at: datetime) -> None:
        said = f"Building run {self.pk} stopped {self.crashes} workers: it is set aside."
        self.batch.record("set_aside", said, at=at, run=self.pk)
        self.batch.recount()
