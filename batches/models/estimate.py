from datetime import datetime

from django.db import models
from django.db.models import F

from batches.models.batch import Batch
from leases.models import Lease


class Estimate(Lease):
    """What a worker found of the rows that a draft would send, before anybody pays for them."""

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        READY = "ready", "Ready"
        REFUSED = "refused", "Refused"

    batch = models.OneToOneField(Batch, models.CASCADE, related_name="estimate")
    # Of the file, its reading, the recipe and the key: another draft has another one.
    digest = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    # How many rows were looked at so far.
    rows = models.PositiveIntegerField(default=0)
    findings = models.JSONField(default=dict)
    # Why it is refused; or, where it is ready, why the tokens are not counted.
    reason = models.TextField(blank=True, default="")

    class Meta(Lease.Meta):
        pass

    def __str__(self) -> str:
        return f"estimate of batch {self.batch_id}"

    @classmethod
    def ask(cls, batch: Batch, digest: str, at: datetime) -> "Estimate":
        """The estimate for this digest; one for another digest is begun anew.

        Whoever still works on the old one finds its fence gone.
        """
        estimate, _ = Estimate.objects.get_or_create(
            batch=batch, defaults={"digest": digest, "due_at": at}
        )
        if estimate.digest != digest:
            estimate.begin_anew(digest, at)
        return estimate

    def begin_anew(self, digest: str, at: datetime) -> bool:
        """False when another one was asked for since; nobody begins over what somebody began."""
        begun = (
            type(self)
            .objects.filter(pk=self.pk, digest=self.digest, fence=self.fence)
            .update(
                digest=digest,
                state=self.State.QUEUED,
                rows=0,
                findings={},
                reason="",
                owner="",
                lease_until=None,
                crashes=0,
                fence=F("fence") + 1,
                due_at=at,
            )
        )
        self.refresh_from_db()
        return bool(begun)
