"""Who may see what: the workspace, its people, its key, and what happened in it."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from leases.clock import database_now
from leases.models import Lease, LeaseQuerySet
from workspaces import encryption

SILENT_AFTER = timedelta(seconds=40)


class Workspace(models.Model):
    name = models.CharField(max_length=100)
    slug = models.SlugField(max_length=50, unique=True)
    timezone = models.CharField(max_length=50, default="UTC")
    retention_days = models.PositiveIntegerField(null=True, blank=True)
    # When a worker last looked for what is older than that.
    pruned_at = models.DateTimeField(null=True, blank=True, editable=False)

    def __str__(self) -> str:
        return self.name

    def live_key(self) -> "ApiKey | None":
        return self.api_keys.filter(retired_at=None).first()


class Membership(models.Model):
    class Role(models.TextChoices):
        OWNER = "owner", "Owner"
        MEMBER = "member", "Member"
        VIEWER = "viewer", "Viewer"

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices)
    seen_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "user"], name="one_membership_per_user")
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.workspace}: {self.role}"


class SealedKey(models.Model):
    """A key for one API as it is stored: encrypted and bound to its workspace."""

    class Api(models.TextChoices):
        CLAUDE = "claude", "Claude API"
        SANDBOX = "sandbox", "Sandbox"

    api = models.CharField(max_length=10, choices=Api.choices, editable=False)
    secret = models.TextField(editable=False)
    last4 = models.CharField(max_length=4, editable=False)
    workspace_id: int

    class Meta:
        abstract = True

    def reveal(self) -> str:
        """The secret in clear: for the client alone, never for a page, a log or an error."""
        return encryption.unseal(self.workspace_id, self.secret)

    def why_unreadable(self) -> str:
        """The sentence where the secret cannot be opened any more; empty where it can."""
        try:
            self.reveal()
        except encryption.SecretUnreadable as error:
            return str(error)
        return ""

    def why_unusable(self) -> str:
        """What keeps it from being used with any API; empty where nothing does."""
        if not self.url:
            return (
                "SANDBOX_URL is not set: the workspace's key is for the sandbox. Start it to go on."
            )
        return self.why_unreadable()

    @property
    def url(self) -> str:
        url = settings.SANDBOX_URL if self.api == self.Api.SANDBOX else settings.CLAUDE_API_URL
        return str(url)


class ApiKey(SealedKey, Lease):
    """A workspace's key for one API. Its lease is held while its message batches are listed."""

    SPEND_LIMIT = "spend_limit"
    SET_ASIDE = "set_aside"

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="api_keys")
    anthropic_workspace = models.CharField(max_length=100, blank=True, default="")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=database_now)
    accepted_at = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)
    refused = models.TextField(blank=True, default="")
    refused_type = models.CharField(max_length=20, blank=True, default="")
    paused_until = models.DateTimeField(null=True, blank=True)
    models_read_at = models.DateTimeField(null=True, blank=True)
    # Last, for the name hides the module below this line.
    models = models.JSONField(default=list)

    class Meta(Lease.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["workspace"], condition=Q(retired_at=None), name="one_live_key"
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_api_display()} key ending {self.last4}"

    @classmethod
    def seal(cls, workspace: Workspace, api: str, secret: str, **fields: Any) -> "ApiKey":
        """Save a new key, encrypted and bound to its workspace."""
        token = encryption.seal(workspace.pk, secret)
        return cls.objects.create(
            workspace=workspace,
            api=api,
            secret=token,
            last4=secret[-4:],
            due_at=database_now(),
            **fields,
        )

    def account(self) -> str:
        """Whose listing this key sees: the Anthropic workspace, or ours until it is known."""
        return self.anthropic_workspace or f"workspace:{self.workspace_id}"

    def lists(self, account: str) -> bool:
        """Whether this key's listing shows the batches of `account`, as far as both are known."""
        known = self.anthropic_workspace
        return not known or account in ("", known) or account.startswith("workspace:")

    @property
    def spend_limited(self) -> bool:
        return self.refused_type == self.SPEND_LIMIT

    def paused(self, at: datetime) -> bool:
        return self.paused_until is not None and self.paused_until > at

    def forgive(self) -> None:
        """A person says that it is worth trying again: the spend limit was raised, say."""
        type(self).objects.filter(pk=self.pk).update(
            refused="", refused_type="", paused_until=None, crashes=0
        )


class KeyCheck(SealedKey, Lease):
    """One look whether a key works: at the live one, or at one that is to replace it.

    The worker does it. The secret of a new key is here until that is known, and no longer.
    """

    class State(models.TextChoices):
        CHECKING = "checking", "Checking"
        WORKS = "works", "Works"
        REFUSED = "refused", "Refused"
        UNREACHABLE = "unreachable", "Unreachable"
        # It works, and is of an account where what is still open cannot be reached.
        ELSEWHERE = "elsewhere", "Elsewhere"

    workspace = models.OneToOneField(Workspace, models.CASCADE, related_name="key_check")
    is_new = models.BooleanField()
    state = models.CharField(max_length=11, choices=State.choices, default=State.CHECKING)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    asked_at = models.DateTimeField(default=database_now)
    # Until then an API that cannot be reached is asked again.
    until = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    # What the API, or the way to it, has against the key.
    sentence = models.TextField(blank=True, default="")
    # None where the key may not list them.
    model_count = models.PositiveIntegerField(null=True, blank=True)
    anthropic_workspace = models.CharField(max_length=100, blank=True, default="")
    open_elsewhere = models.PositiveIntegerField(default=0)

    class Meta(Lease.Meta):
        pass

    def __str__(self) -> str:
        return f"check of a key of {self.workspace}: {self.state}"

    def mine(self) -> LeaseQuerySet:
        """As long as it is also in the state it was read in: two people may decide at once."""
        return super().mine().filter(state=self.state)

    def finish(self, state: str, at: datetime, **changes: Any) -> bool:
        """Say what came of it; the secret stays only where a person still has to decide."""
        if state != self.State.ELSEWHERE:
            changes["secret"] = ""
        return self.release(None, state=state, finished_at=at, **changes)

    def is_waiting_for_a_worker(self, at: datetime) -> bool:
        return not self.fence and self.asked_at < at - SILENT_AFTER


class Event(models.Model):
    """What happened, in words: append-only, written in the transaction of the change."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="events")
    at = models.DateTimeField(default=database_now)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    subject = models.CharField(max_length=50)
    verb = models.CharField(max_length=30)
    sentence = models.TextField()
    data = models.JSONField(default=dict)

    class Meta:
        indexes = [
            # for the activity of one subject
            models.Index(fields=["workspace", "subject", "id"], name="event_subject")
        ]

    def __str__(self) -> str:
        return self.sentence
