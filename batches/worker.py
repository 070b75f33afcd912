"""A worker gives every stage a turn, the quick ones first, as long as there is work.

A stage is `step(at, only=None) -> bool`: it claims one due row, works on it, and says whether
there was one. Several workers run side by side; the leases keep them apart.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import DatabaseError, close_old_connections, connection

from batches import (
    adopting,
    building,
    cancelling,
    checking,
    collecting,
    deleting,
    estimating,
    matching,
    parsing,
    polling,
    pruning,
    reconciling,
    refreshing,
    submitting,
)
from batches.models import Batch, Estimate, Listing, Match, MessageBatch, Run, Upload, Worker
from batches.versions import find_difference
from leases.clock import database_now
from leases.models import machine_name
from leases.renewing import LeaseLost
from workspaces.models import ApiKey, KeyCheck

Stage = Callable[[datetime, Batch | None], bool]
STAGES: tuple[Stage, ...] = (
    cancelling.step,
    polling.step,
    checking.step,
    submitting.step,
    reconciling.step,
    adopting.step,
    collecting.step,
    parsing.step,
    building.step,
    refreshing.step,
    estimating.step,
    matching.step,
    deleting.step,
    pruning.step,
)
SEEN_EVERY = 10.0
TABLES_EVERY = 1.0
logger = logging.getLogger(__name__)


def turn(
    only: Batch | None = None,
    stop: threading.Event | None = None,
    surprised: Callable[[], None] | None = None,
) -> bool:
    """Give each stage one turn; True if any of them found work.

    What nobody foresaw is raised, or where `surprised` is given said to that: the row stays
    leased, is tried again when the lease runs out, and set aside after three times.
    """
    worked = False
    for step in STAGES:
        if stop is not None and stop.is_set():
            return worked
        try:
            worked |= step(database_now(), only)
        except LeaseLost as lost:
            # What was begun here is another worker's now, and nothing of it was finished.
            logger.warning("gave up a step: %s", lost)
            worked = True
        except Exception:
            if surprised is None:
                raise
            surprised()
    return worked


def work(stop: threading.Event, *, interval: float, once: bool = False) -> int:
    """Take turns until `stop` is set, or with `once` until nothing is due; how many failed."""
    failures = 0

    def surprised() -> None:
        nonlocal failures
        failures += 1
        logger.exception("a step failed; its row is tried again later")

    if not wait_for_tables(stop, once=once):
        return 1
    with on_duty():
        while not stop.is_set():
            close_old_connections()
            if not wait_for_tables(stop, once=once):
                return failures + 1
            if turn(stop=stop, surprised=surprised):
                continue
            if once:
                break
            stop.wait(interval)
    return failures


def wait_for_tables(stop: threading.Event, *, once: bool) -> bool:
    """Touch no row while the tables are of another version than this program, or out of reach.

    False where they still are when it should end; with `once` nobody waits.
    """
    said = ""
    while why := what_is_wrong():
        if why != said:
            said = why
            logger.warning("%s Until then this worker touches nothing.", why)
        if once or stop.wait(TABLES_EVERY):
            return False
        close_old_connections()
    return True


def what_is_wrong() -> str:
    try:
        return find_difference()
    except DatabaseError as error:
        return f"The database does not answer ({str(error).strip()})."


@contextmanager
def on_duty() -> Iterator[None]:
    """Be a worker: take over what died here, and say every few seconds that this one works.

    A thread says it, so that no long step holds it up.
    """
    for leased in (ApiKey, KeyCheck, Upload, Run, MessageBatch, Estimate, Listing, Match):
        leased.objects.free_abandoned(database_now())
    name: dict[str, Any] = {"host": machine_name(), "pid": os.getpid()}
    finished = threading.Event()
    thread = threading.Thread(target=_keep_seen, args=(name, finished), name="seen")
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
        Worker.objects.filter(**name).delete()


def _keep_seen(name: dict[str, Any], finished: threading.Event) -> None:
    try:
        while not finished.is_set():
            try:
                Worker.objects.update_or_create(**name, defaults={"seen_at": database_now()})
            except DatabaseError as error:
                logger.warning("not marked as seen: %s", error)
            finished.wait(SEEN_EVERY)
    finally:
        connection.close()
