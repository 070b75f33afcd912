"""What a person asks of batches that were made elsewhere, and what workers find out about them."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import F

from batches.models.batch import Batch
from batches.models.message_batch import MessageBatch
from batches.models.upload import Upload
from leases.clock import database_now
from leases.models import Lease
from workspaces.models import Workspace

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# The API keeps results for 29 days; a day to spare for clocks.
REMEMBERED = timedelta(days=30)


class Listing(Lease):
    """One look at what the API lists for a workspace's key, without what has an owner here."""

    class State(models.TextChoices):
        LISTING = "listing", "Listing"
        DONE = "done", "Done"
        REFUSED = "refused", "Refused"

    workspace = models.OneToOneField(Workspace, models.CASCADE, related_name="listing")
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    asked_at = models.DateTimeField(default=database_now)
    listed_at = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.LISTING)
    api = models.CharField(max_length=10, blank=True, default="")
    account = models.CharField(max_length=120, blank=True, default="")
    # How many batches were looked at, ours among them.
    seen = models.PositiveIntegerField(default=0)
    # Newest first: see adopting.Found.
    found = models.JSONField(default=list)
    # There are older ones that were not looked at.
    more = models.BooleanField(default=False)
    # Parts of this workspace that are looked for among them: ids of MessageBatch.
    looked_for = models.JSONField(default=list)
    reason = models.TextField(blank=True, default="")

    class Meta(Lease.Meta):
        pass

    def __str__(self) -> str:
        return f"listing of {self.workspace}: {self.state}"

    @classmethod
    def ask(cls, workspace: Workspace, at: datetime, actor: "User | None" = None) -> "Listing":
        """Let a worker look; one that looks already goes on."""
        listing, made = cls.objects.get_or_create(
            workspace=workspace, defaults={"asked_by": actor, "asked_at": at, "due_at": at}
        )
        if not made:
            over = cls.objects.filter(pk=listing.pk).exclude(state=cls.State.LISTING)
            stuck = cls.objects.set_aside().filter(pk=listing.pk)
            anew = {"state": cls.State.LISTING, "seen": 0, "reason": "", "crashes": 0}
            asked = {"asked_by": actor, "asked_at": at, "due_at": at, "owner": ""}
            (over | stuck).update(fence=F("fence") + 1, lease_until=None, **anew, **asked)
            listing.refresh_from_db()
        return listing


class Match(Lease):
    """Whether the ids of an adopted Batch are those of an upload, and whether a person agreed."""

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        FITS = "fits", "Fits"
        NONE = "none", "None"
        CONFIRMED = "confirmed", "Confirmed"
        SHOWN = "shown", "Shown"

    batch = models.OneToOneField(Batch, models.CASCADE, related_name="match")
    upload = models.ForeignKey(Upload, models.SET_NULL, null=True, blank=True, related_name="+")
    # Of a table the column that holds the ids.
    column = models.TextField(blank=True, default="")
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)

    class Meta(Lease.Meta):
        pass

    def __str__(self) -> str:
        return f"match of batch {self.batch_id}: {self.state}"


class DeletedPart(models.Model):
    """A part that was deleted here while the API keeps it: no other workspace may adopt it."""

    message_batch_id = models.CharField(max_length=100, unique=True)
    workspace = models.ForeignKey(Workspace, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.message_batch_id

    @classmethod
    def remember(cls, part: MessageBatch, at: datetime) -> None:
        """Called before its row goes; what the API has let go of since is forgotten."""
        cls.objects.filter(created_at__lt=at - REMEMBERED).delete()
        if part.message_batch_id and not part.deleted_at:
            made = {"workspace": part.workspace, "created_at": part.created_at or at}
            cls.objects.get_or_create(message_batch_id=part.message_batch_id, defaults=made)

    @classmethod
    def hidden_from(cls, workspace_id: int, ids: list[str]) -> set[str]:
        """Which of these batches at the API were another workspace's."""
        theirs = cls.objects.filter(message_batch_id__in=ids).exclude(workspace=workspace_id)
        return set(theirs.values_list("message_batch_id", flat=True))
