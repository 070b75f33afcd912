"""A lease says who works on a row, until when, and under which fence.

The fence grows with every claim. Whoever writes to a claimed row filters on the fence it
was given, so a worker that slept past its lease finds that it may no longer write.
"""

import os
import socket
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self

from django.db import models, transaction
from django.db.models import Case, F, Q, When

LEASE = timedelta(seconds=20)
CRASH_LIMIT = 3


def owner_name() -> str:
    """Who a lease of this process belongs to."""
    return f"{machine_name()}:{os.getpid()}"


@cache
def machine_name() -> str:
    """Where a process number means one process: the host since its last start, and the
    namespace of its numbers, for containers may share a name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        boot, namespace = "", 0
    return f"{socket.gethostname()[:50]}/{boot}/{namespace}"


def is_alive(owner: str) -> bool:
    """Whether the process that took a lease on this machine is still there."""
    try:
        os.kill(int(owner.rpartition(":")[2]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # It is there, and another user's.
    return True


class LeaseQuerySet(models.QuerySet[Any]):
    def free(self, at: datetime) -> Self:
        return self.filter(Q(lease_until=None) | Q(lease_until__lte=at))

    def due(self, at: datetime) -> Self:
        return self.free(at).filter(due_at__lte=at, crashes__lt=CRASH_LIMIT)

    def set_aside(self) -> Self:
        """Rows that crashed so many workers that only a person may start them again."""
        return self.filter(crashes__gte=CRASH_LIMIT)

    def free_abandoned(self, at: datetime) -> int:
        """End the leases of processes of this machine that are no more; how many there were.

        After a crash and a restart nobody has to wait until they run out.
        """
        held = self.filter(owner__startswith=f"{machine_name()}:", lease_until__gt=at)
        dead = {owner for owner in held.values_list("owner", flat=True) if not is_alive(owner)}
        return held.filter(owner__in=dead).update(lease_until=at)

    def claim(self, owner: str, at: datetime) -> Any:
        """The row that has been due longest, now ours; None when there is nothing to do.

        One over which the last of CRASH_LIMIT workers has died is not begun any more.
        """
        for row in self.due(at).order_by("due_at")[:16]:
            still_due = self.due(at).filter(pk=row.pk, fence=row.fence)
            if row.is_spent:
                row.put_aside(still_due, at)
            elif still_due.update(**_claimed(owner, at)):
                fence = row.fence + 1
                row.refresh_from_db()
                # A claimer that pauses here may find the row of whoever overtook it.
                if row.fence == fence:
                    return row
        return None


def _claimed(owner: str, at: datetime) -> dict[str, Any]:
    return {
        "owner": owner,
        "lease_until": at + LEASE,
        "fence": F("fence") + 1,
        # A lease that was never released is the trace of a worker that died.
        "crashes": F("crashes") + Case(When(lease_until=None, then=0), default=1),
    }


class Lease(models.Model):
    owner = models.CharField(max_length=100, blank=True, default="")
    lease_until = models.DateTimeField(null=True, blank=True)
    fence = models.BigIntegerField(default=0)
    crashes = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[Any] = LeaseQuerySet.as_manager()

    class Meta:
        abstract = True
        indexes = [
            # for LeaseQuerySet.due
            models.Index(
                fields=["due_at"],
                condition=Q(due_at__isnull=False),
                name="%(app_label)s_%(class)s_due",
            )
        ]

    def mine(self) -> LeaseQuerySet:
        """This row as long as nobody claimed it after us: the base of every write to it."""
        return type(self)._default_manager.filter(pk=self.pk, fence=self.fence)

    @property
    def is_set_aside(self) -> bool:
        """Whether it crashed so many workers that only a person may start it again."""
        return self.crashes >= CRASH_LIMIT

    @property
    def is_spent(self) -> bool:
        """Whether the worker that held it last, and died, was the last that may try."""
        return self.lease_until is not None and self.crashes + 1 >= CRASH_LIMIT

    def put_aside(self, still_due: LeaseQuerySet, at: datetime) -> None:
        """Leave the row to a person; a worker that was only slow finds that it may not write."""
        with transaction.atomic():
            self.hold_counted()
            aside = {"owner": "", "lease_until": None, "crashes": CRASH_LIMIT}
            if still_due.update(fence=F("fence") + 1, **aside):
                self.refresh_from_db()
                self.tell_of_being_set_aside(at)

    def hold_counted(self) -> None:
        """Lock what the row is counted in, before the row itself is changed."""

    def tell_of_being_set_aside(self, at: datetime) -> None:
        """For rows that a page speaks of; called in the transaction that sets it aside."""

    def start_again(self, at: datetime) -> bool:
        """A person has looked into it: workers may try again; False where nothing is set aside."""
        aside = type(self)._default_manager.set_aside().filter(pk=self.pk)
        return bool(aside.update(crashes=0, due_at=at))

    def renew(self, at: datetime) -> bool:
        """Hold the row for longer; False when it was claimed by another or given back."""
        held = self.mine().filter(lease_until__isnull=False)
        return bool(held.update(lease_until=at + LEASE))

    def release(self, due_at: datetime | None, **changes: Any) -> bool:
        """Give the row back, to be due again at `due_at` (None: never by itself)."""
        return bool(
            self.mine().update(owner="", lease_until=None, crashes=0, due_at=due_at, **changes)
        )
