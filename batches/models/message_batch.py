"""One message batch of the API, mirrored field by field, and what we know beside it."""

import secrets
from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import Count, Exists, OuterRef, Q

from batches.models.batch import Batch, Run
from batches.models.index import CHUNK, POSITION_BITS, Request, Result, link_rows
from claude_api import MessageBatch as RemoteBatch
from leases.models import Lease, LeaseQuerySet
from workspaces.models import Workspace

if TYPE_CHECKING:
    from django.contrib.auth.models import User

NONCE_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def new_nonce() -> str:
    return "".join(secrets.choice(NONCE_ALPHABET) for _ in range(8))


def runs_of(ids: list[int], chosen: set[int]) -> Iterator[tuple[int, int]]:
    """First and last of the chosen ids, where no other one of `ids` lies between them."""
    for is_chosen, group in groupby(ids, chosen.__contains__):
        if is_chosen:
            found = list(group)
            yield found[0], found[-1]


class MessageBatchQuerySet(LeaseQuerySet):
    def within(self, batch: Batch | None) -> Self:
        """The parts of one Batch, or all of them."""
        return self if batch is None else self.filter(batch=batch)

    def visible(self) -> Self:
        """Without the parts that a builder is still writing."""
        return self.exclude(state=MessageBatch.State.BUILDING)

    def count_again(self) -> None:
        for part in self.order_by("pk"):
            part.count_again()

    def watched(self) -> Self:
        """What the API still works on."""
        return self.filter(state=MessageBatch.State.SUBMITTED).exclude(processing_status="ended")


class MessageBatch(Lease):
    class State(models.TextChoices):
        BUILDING = "building", "Building"
        QUEUED = "queued", "Queued"
        SENDING = "sending", "Sending"
        UNKNOWN = "unknown", "Outcome unknown"
        SUBMITTED = "submitted", "Submitted"
        REJECTED = "rejected", "Rejected"
        DROPPED = "dropped", "Dropped"
        INCOMPLETE = "incomplete", "Incomplete"
        STORED = "stored", "Stored"
        LOST = "lost", "Lost"

    EDGES = {
        State.BUILDING: {State.QUEUED, State.DROPPED},
        State.QUEUED: {State.SENDING, State.DROPPED},
        State.SENDING: {State.SUBMITTED, State.QUEUED, State.REJECTED, State.UNKNOWN},
        State.UNKNOWN: {State.SUBMITTED, State.DROPPED},
        State.DROPPED: {State.SUBMITTED},
        State.SUBMITTED: {State.STORED, State.INCOMPLETE, State.LOST},
        State.INCOMPLETE: {State.STORED, State.LOST},
    }
    OPEN = frozenset(
        {State.QUEUED, State.SENDING, State.UNKNOWN, State.SUBMITTED, State.INCOMPLETE}
    )
    NOT_SENT = frozenset({State.DROPPED, State.REJECTED})

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="message_batches")
    batch = models.ForeignKey(Batch, models.CASCADE, related_name="message_batches")
    run = models.ForeignKey(Run, models.CASCADE, null=True, related_name="message_batches")
    part = models.PositiveIntegerField()
    nonce = models.CharField(max_length=8, unique=True, default=new_nonce)
    replaces = models.OneToOneField(
        "self", models.PROTECT, null=True, blank=True, related_name="replaced_by"
    )

    state = models.CharField(max_length=10, choices=State.choices, default=State.BUILDING)
    api = models.CharField(max_length=10, blank=True, default="")
    account = models.CharField(max_length=120, blank=True, default="")
    candidates = models.JSONField(default=list)
    listings = models.PositiveIntegerField(default=0)
    size = models.PositiveIntegerField(default=0)
    bytes = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True, default="")
    requests_fence = models.BigIntegerField(null=True, blank=True)
    results_fence = models.BigIntegerField(null=True, blank=True)
    list_head = models.CharField(max_length=100, blank=True, default="")
    attempts = models.PositiveIntegerField(default=0)
    not_found = models.PositiveIntegerField(default=0)
    not_found_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    unknown_at = models.DateTimeField(null=True, blank=True)
    proven_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    stored_at = models.DateTimeField(null=True, blank=True)
    tokens = models.JSONField(default=dict)
    # How many answers of each type count for their rows: without those of rows sent once more.
    answers = models.JSONField(default=dict)
    # Of these, how many of each type a person should look at, and why.
    concerns = models.JSONField(default=dict)
    cost = models.DecimalField(max_digits=14, decimal_places=6, null=True, blank=True)
    reason = models.TextField(blank=True, default="")
    # What a person said it is, until a worker has asked the API whether that can be.
    adopt_id = models.CharField(max_length=100, blank=True, default="")
    adopt_asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    # A person does not wait for what is missing; a worker then makes it `missing`.
    stop_waiting_at = models.DateTimeField(null=True, blank=True)
    # What was counted in the results file that counts: see proof.Proof.
    proof = models.JSONField(default=dict)
    # Somebody wants it deleted at the API since then; and it was, by us, then.
    delete_requested_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    message_batch_id = models.CharField(max_length=100, null=True, blank=True, unique=True)
    processing_status = models.CharField(max_length=30, blank=True, default="")
    processing = models.PositiveIntegerField(default=0)
    succeeded = models.PositiveIntegerField(default=0)
    errored = models.PositiveIntegerField(default=0)
    canceled = models.PositiveIntegerField(default=0)
    expired = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)
    cancel_initiated_at = models.DateTimeField(null=True, blank=True)
    results_url = models.TextField(null=True, blank=True)

    objects: ClassVar[Any] = MessageBatchQuerySet.as_manager()

    class Meta(Lease.Meta):
        verbose_name_plural = "message batches"
        constraints = [
            models.UniqueConstraint(fields=["run", "part"], name="one_part_per_run_and_number"),
            # Two POSTs without an answer must not look alike in the API's listing.
            models.UniqueConstraint(
                fields=["account", "size"],
                condition=Q(state__in=["sending", "unknown"]),
                name="one_unanswered_size_per_account",
            ),
        ]

    def __str__(self) -> str:
        return f"part {self.part} of batch {self.batch_id}"

    def custom_id(self, row: int) -> str:
        return f"{row}_{self.nonce}"

    @staticmethod
    def mirror(remote: RemoteBatch) -> dict[str, Any]:
        """The columns that repeat what the API says, from what it said."""
        counts = remote.request_counts
        return {
            "processing_status": remote.processing_status,
            "processing": counts.processing,
            "succeeded": counts.succeeded,
            "errored": counts.errored,
            "canceled": counts.canceled,
            "expired": counts.expired,
            "created_at": remote.created_at,
            "expires_at": remote.expires_at,
            "ended_at": remote.ended_at,
            "archived_at": remote.archived_at,
            "cancel_initiated_at": remote.cancel_initiated_at,
            "results_url": remote.results_url,
        }

    def count_answers(self) -> dict[str, int]:
        """From the index, for `answers`."""
        counted = Result.objects.of(self.pk).filter(retried_in=None)
        return dict(counted.values_list("type").annotate(Count("pk")).order_by())

    def count_concerns(self) -> dict[str, dict[str, int]]:
        """From the index, for `concerns`: type, then concern."""
        worrying = Result.objects.of(self.pk).filter(retried_in=None, concern__isnull=False)
        counts: dict[str, dict[str, int]] = {}
        grouped = worrying.values_list("type", "concern").annotate(Count("pk")).order_by()
        for kind, concern, number in grouped:
            counts.setdefault(kind, {})[concern] = number
        return counts

    def count_again(self) -> None:
        """Write `answers` and `concerns` anew, inside the transaction that changed the index."""
        counted = {"answers": self.count_answers(), "concerns": self.count_concerns()}
        type(self).objects.filter(pk=self.pk).update(**counted)

    def counted_elsewhere(self, parts: "list[MessageBatch]") -> int:
        """How many rows of this part are counted with another of `parts`."""
        others = {
            part.pk for part in parts if part.run_id != self.run_id and self.leaves_rows_to(part)
        }
        if not others:
            return 0
        ranges = Q()
        for first, last in runs_of(sorted(part.pk for part in parts), others):
            ranges |= Q(pk__gte=first << POSITION_BITS, pk__lt=(last + 1) << POSITION_BITS)
        again = Request.objects.filter(ranges, batch_id=self.batch_id, row=OuterRef("row"))
        return Request.objects.of(self.pk).filter(Exists(again)).count()

    def leaves_rows_to(self, other: "MessageBatch") -> bool:
        """Whether a row that both hold is counted with the other one.

        Rows that were not sent are, where a later Run has taken or an earlier one had sent them;
        so are those of a part that turned up after a later one was sent in its place.
        """
        was_sent = other.state not in self.NOT_SENT
        if self.state in self.NOT_SENT:
            return other.pk > self.pk or was_sent
        return self.is_late and other.pk > self.pk and was_sent

    def link_attempts(self) -> None:
        """Let the newest attempt of each row count, inside the transaction of a change.

        Where this part was not sent after all, the answer that a row had before counts again;
        where it was, after all, that one counts no more.
        """
        changed = self.link_answers()
        self.batch.message_batches.filter(pk__in=changed).count_again()

    def link_answers(self) -> set[int]:
        """The first half of `link_attempts`: gives the parts whose answers are to be counted."""
        others = self.batch.message_batches.exclude(run=self.run_id)
        if not others.exists():
            return set()
        Batch.hold(self.batch_id)
        if not others.exclude(state__in=self.NOT_SENT).filter(pk__gt=self.pk).exists():
            return self._link_newest()
        sent = self.batch.message_batches.exclude(state__in=self.NOT_SENT)
        runs = dict(sent.order_by("pk").values_list("pk", "run_id"))
        changed: set[int] = set()
        rows, start = Request.objects.of(self.pk).order_by("pk"), 0
        while page := list(rows.filter(pk__gte=start).values_list("pk", "row")[:CHUNK]):
            changed |= link_rows(self.batch_id, [row for _, row in page], runs)
            start = page[-1][0] + 1
        return changed

    def _link_newest(self) -> set[int]:
        """Of a part that no later one follows: its rows' answers before count, or do not."""
        first = self.request_ids().start
        rows = Request.objects.of(self.pk).values("row")
        older = Request.objects.filter(batch=self.batch_id, row__in=rows, pk__lt=first)
        answers = Result.objects.filter(pk__in=older.values("pk"))
        is_sent = self.state not in self.NOT_SENT
        wrong, right = (None, self.run_id) if is_sent else (self.run_id, None)
        wrong_ones = answers.filter(retried_in=wrong)
        changed = {pk >> POSITION_BITS for pk in wrong_ones.values_list("pk", flat=True)}
        wrong_ones.update(retried_in=right)
        return changed

    def request_ids(self) -> range:
        first = self.pk << POSITION_BITS
        return range(first, first + self.size)

    @property
    def needs_person(self) -> bool:
        """Nothing goes on without somebody's decision."""
        if self.is_set_aside or self.turned_up:
            return True
        return self.state == self.State.UNKNOWN and self.settled_at is not None

    @property
    def turned_up(self) -> dict[str, Any] | None:
        """The batch at the API that a dropped part is after all, and nobody has answered for."""
        if self.state != self.State.DROPPED:
            return None
        ours = (one for one in self.candidates if one["ours"] and not one.get("left"))
        return next(ours, None)

    @property
    def is_free(self) -> bool:
        """Whether its rows may be sent with another part: nobody pays for them, as far as we know
        or a person has said."""
        return self.state in self.NOT_SENT and self.turned_up is None

    @property
    def was_left(self) -> bool:
        """Whether it turned up at the API, and a person left it there."""
        return any(one.get("left") for one in self.candidates)

    @property
    def is_late(self) -> bool:
        """Whether it was dropped, and taken when it turned up after all."""
        return any(one.get("late") for one in self.candidates)

    def hold_counted(self) -> None:
        Batch.hold(self.batch_id)

    def tell_of_being_set_aside(self, at: datetime) -> None:
        said = f"Part {self.part} stopped {self.crashes} workers and is set aside."
        self.batch.record("set_aside", said, at=at, part=self.part)
        self.batch.recount()

    @property
    def word(self) -> str:
        if self.needs_person:
            return Batch.State.NEEDS_YOU
        if self.state in self.OPEN and self.cancel_requested_at:
            return Batch.State.CANCELING
        if self.state in (self.State.SENDING, self.State.UNKNOWN):
            return Batch.State.SENDING
        if self.state == self.State.SUBMITTED and self.processing_status != "ended":
            return Batch.State.IN_PROGRESS
        if self.state in (self.State.SUBMITTED, self.State.INCOMPLETE):
            return Batch.State.COLLECTING
        return Batch.State.QUEUED if self.state == self.State.QUEUED else Batch.State.ENDED

    def release_as(
        self, state: str, due_at: datetime | None, *, event: str = "", **changes: Any
    ) -> bool:
        """Move to another state and give the row back, to be due again at `due_at`."""
        changes |= {"owner": "", "lease_until": None, "crashes": 0, "due_at": due_at}
        return self.move(state, event=event, **changes)

    def move(
        self,
        state: str,
        *,
        event: str = "",
        at: datetime | None = None,
        actor: "User | None" = None,
        **changes: Any,
    ) -> bool:
        """Compare-and-swap to another state; False when somebody else was first.

        Writes the Batch's counters and, where `event` has a sentence, its story in the same
        transaction. An edge that the design does not have raises.
        """
        if state not in self.EDGES.get(self.State(self.state), set()):
            raise ValueError(f"{self}: no way from {self.state} to {state}")
        before = self.state
        with transaction.atomic():
            Batch.hold(self.batch_id)
            if not self.mine().filter(state=self.state).update(state=state, **changes):
                return False
            was_sent = before not in self.NOT_SENT
            self.refresh_from_db()
            if was_sent != (state not in self.NOT_SENT):
                self.link_attempts()
            if event:
                self.batch.record(state, event, actor=actor, at=at, part=self.part)
            self.batch.recount()
        return True
