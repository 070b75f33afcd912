"""Keep a lease while a step blocks on the network or on a long file."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import DatabaseError, connection

from leases.clock import database_now
from leases.models import Lease, LeaseQuerySet, owner_name

RENEW_EVERY = 5.0
logger = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Another worker has claimed the row: what was begun here must not be finished."""


class Renewal:
    def __init__(self, row: Lease, every: float = RENEW_EVERY) -> None:
        self.row = row
        self.every = every
        self.lost = threading.Event()
        self._finished = threading.Event()

    def check(self) -> None:
        """Raise LeaseLost unless the row is still ours by the database's word.

        Asked before anything that cannot be taken back; a process that was paused past its
        lease learns it here.
        """
        if self.lost.is_set() or not self.row.renew(database_now()):
            self.lost.set()
            raise LeaseLost(f"{self.row._meta.label} {self.row.pk} was claimed by another worker")

    def run(self) -> None:
        try:
            while not self._finished.wait(self.every) and not self.lost.is_set():
                self._renew_once()
        finally:
            connection.close()

    def _renew_once(self) -> None:
        try:
            if not self.row.renew(database_now()):
                self.lost.set()
        except DatabaseError:
            logger.warning("lease of %s %s not renewed", self.row._meta.label, self.row.pk)

    def finish(self) -> None:
        self._finished.set()


@contextmanager
def renewing(row: Lease, every: float = RENEW_EVERY) -> Iterator[Renewal]:
    """Renew the lease of `row` each `every` seconds until the block ends."""
    renewal = Renewal(row, every)
    thread = threading.Thread(target=renewal.run, name=f"renew {row._meta.label} {row.pk}")
    thread.start()
    try:
        yield renewal
    finally:
        renewal.finish()
        thread.join()


def work_on(rows: LeaseQuerySet, at: datetime, work: Callable[[Any, Renewal], None]) -> bool:
    """Claim the row that has been due longest and work on it; False when none is due."""
    row = rows.claim(owner_name(), at)
    if row is None:
        return False
    with renewing(row) as renewal:
        work(row, renewal)
    return True
