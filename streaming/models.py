"""A live exchange: Conversation, its Turns, and the Frames of a Turn that is being written."""

from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q

from leases.clock import database_now
from leases.models import Lease, LeaseQuerySet
from workspaces.models import Workspace


class Conversation(models.Model):
    """Shared with the workspace. `origin` is a relative URL: where its first request came from."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="conversations")
    title = models.CharField(max_length=200)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    origin = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(default=database_now)
    updated_at = models.DateTimeField(default=database_now)

    class Meta:
        indexes = [
            # for the list, the one that was used last first
            models.Index(fields=["workspace", "-updated_at"], name="conversation_newest")
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.title}"


class TurnQuerySet(LeaseQuerySet):
    def live(self) -> "TurnQuerySet":
        return self.filter(state__in=Turn.LIVE)

    def standing(self) -> "TurnQuerySet":
        """The ones that make up the conversation: without those that were run once more."""
        return self.filter(replaced_at=None).order_by("number")

    def abandoned(self, at: datetime) -> "TurnQuerySet":
        """Live by their word, but the process that wrote them is gone."""
        return self.live().filter(Q(lease_until=None) | Q(lease_until__lte=at))


class Turn(Lease):
    """One prompt and its streamed answer.

    `prompt` is the list of messages that this turn adds to the conversation, `parameters` the
    other parameters of its request, as they were sent. `answer` is the message as far as it came.
    """

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        STREAMING = "streaming", "Writing"
        DONE = "done", "Done"
        STOPPED = "stopped", "Stopped"
        INTERRUPTED = "interrupted", "Interrupted"
        FAILED = "failed", "Failed"

    LIVE = (State.QUEUED, State.STREAMING)

    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="turns")
    number = models.PositiveIntegerField()
    token = models.CharField(max_length=64)
    prompt = models.JSONField()
    parameters = models.JSONField()
    # Of a turn that goes on with an answer that broke off: that one.
    continues = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="continued_by"
    )
    replaced_at = models.DateTimeField(null=True, blank=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    state = models.CharField(max_length=12, choices=State.choices, default=State.QUEUED)
    answer = models.JSONField(default=dict)
    stop_reason = models.CharField(max_length=60, blank=True, default="")
    usage = models.JSONField(default=dict)
    cost = models.DecimalField(max_digits=14, decimal_places=8, null=True, blank=True)
    reason = models.TextField(blank=True, default="")
    error_type = models.CharField(max_length=60, blank=True, default="")
    request_id = models.CharField(max_length=100, blank=True, default="")
    asked_at = models.DateTimeField(default=database_now)
    first_token_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    stop_requested_at = models.DateTimeField(null=True, blank=True)
    stop_requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    frames = models.PositiveIntegerField(default=0)
    # Of the transcript, in UTF-16 units as a browser counts, and its SHA-256.
    length = models.PositiveIntegerField(default=0)
    digest = models.CharField(max_length=64, blank=True, default="")

    objects: ClassVar[Any] = TurnQuerySet.as_manager()

    class Meta(Lease.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["conversation", "number"], name="one_turn_per_conversation_and_number"
            ),
            models.UniqueConstraint(
                fields=["conversation", "token"], name="one_turn_per_conversation_and_token"
            ),
            models.UniqueConstraint(
                fields=["conversation"],
                condition=Q(state__in=["queued", "streaming"]),
                name="one_live_turn_per_conversation",
            ),
        ]

    def __str__(self) -> str:
        return f"turn {self.number} of conversation {self.conversation_id}"

    @property
    def is_live(self) -> bool:
        return self.state in self.LIVE

    @property
    def content(self) -> list[dict[str, Any]]:
        """The blocks of the answer as far as it came."""
        content: list[dict[str, Any]] = self.answer.get("content", [])
        return content

    def finish(self, *, state: str, at: datetime, **changes: Any) -> bool:
        """End a live Turn; False when it was ended by another, or taken over."""
        with transaction.atomic():
            ended = self.mine().filter(state__in=self.LIVE)
            if not ended.update(
                state=state, ended_at=at, owner="", lease_until=None, due_at=None, **changes
            ):
                return False
            Conversation.objects.filter(pk=self.conversation_id).update(updated_at=at)
        return True


class Frame(models.Model):
    """One numbered window of what was streamed, encoded as it is sent to viewers."""

    turn = models.ForeignKey(Turn, models.CASCADE, related_name="stored_frames")
    seq = models.PositiveIntegerField()
    payload = models.TextField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["turn", "seq"], name="one_frame_per_turn_and_number")
        ]

    def __str__(self) -> str:
        return f"frame {self.seq} of turn {self.turn_id}"
