from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F

from leases.models import Lease
from workspaces.models import Workspace


class Upload(Lease):
    """A file as received, byte for byte, and its rows."""

    class State(models.TextChoices):
        RECEIVING = "receiving", "Receiving"
        QUEUED = "queued", "Queued"
        READY = "ready", "Ready"
        REFUSED = "refused", "Refused"
        DELETING = "deleting", "Deleting"

    class Kind(models.TextChoices):
        TABLE = "table", "Table"
        REQUESTS = "requests", "Ready requests"

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="uploads")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    filename = models.CharField(max_length=255)
    token = models.CharField(max_length=64)
    size = models.BigIntegerField()
    received = models.BigIntegerField(default=0)
    # When the browser says that the file was last changed, in milliseconds.
    modified = models.BigIntegerField(null=True, blank=True)
    sha256 = models.CharField(max_length=64, blank=True, default="")
    state = models.CharField(max_length=10, choices=State.choices, default=State.RECEIVING)
    kind = models.CharField(max_length=10, choices=Kind.choices, blank=True, default="")
    encoding = models.CharField(max_length=20, blank=True, default="")
    delimiter = models.CharField(max_length=1, blank=True, default="")
    has_header = models.BooleanField(default=True)
    columns = models.JSONField(default=list)
    # Per column, in their order: {"filled": rows that have it, "longest": characters}.
    column_facts = models.JSONField(default=list)
    rows = models.PositiveIntegerField(default=0)
    rows_fence = models.BigIntegerField(null=True, blank=True)
    problems = models.JSONField(default=dict)
    # While this one arrives to take its place in a draft: what comes back when it is cancelled.
    replaces = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="replaced_by"
    )

    class Meta(Lease.Meta):
        constraints = [
            models.UniqueConstraint(fields=["workspace", "token"], name="one_upload_per_token")
        ]

    def __str__(self) -> str:
        return self.filename

    @property
    def problem_count(self) -> int:
        return int(self.problems.get("total", 0))

    @property
    def problem_rows(self) -> int:
        """Rows that cannot be sent; one may have several problems."""
        return int(self.problems.get("rows", self.problem_count))

    @property
    def problem_kinds(self) -> int:
        return int(self.problems.get("kinds", 0))

    @property
    def first_problems(self) -> list[dict[str, Any]]:
        """The first 100, as {row, column, what, fix}; the whole list lies in the archive."""
        return list(self.problems.get("first", []))

    @property
    def row_word(self) -> str:
        return "Line" if self.kind == self.Kind.REQUESTS else "Row"

    def read_again(self, at: datetime, **choices: Any) -> bool:
        """Queue it to be read in another way; whoever is reading it now may not finish."""
        away = (self.State.RECEIVING, self.State.DELETING)
        whole = Upload.objects.filter(pk=self.pk).exclude(state__in=away)
        anew: dict[str, Any] = {"rows": 0, "rows_fence": None, "problems": {}, "column_facts": []}
        return bool(
            whole.update(
                state=self.State.QUEUED,
                fence=F("fence") + 1,
                owner="",
                lease_until=None,
                crashes=0,
                due_at=at,
                **anew,
                **choices,
            )
        )
