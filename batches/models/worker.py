from datetime import datetime, timedelta

from django.db import models

SILENT_AFTER = timedelta(seconds=40)


class WorkerQuerySet(models.QuerySet["Worker"]):
    def alive(self, at: datetime) -> "WorkerQuerySet":
        return self.filter(seen_at__gt=at - SILENT_AFTER)


class Worker(models.Model):
    """A process that takes turns, and when it last said so."""

    host = models.CharField(max_length=100)
    pid = models.PositiveIntegerField()
    seen_at = models.DateTimeField()

    objects = WorkerQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["host", "pid"], name="one_row_per_worker")]

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"
