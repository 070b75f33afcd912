"""Room on the disk: work that fills it is put off, and goes on by itself when there is some.

A full disk is not the fault of the row that met it: it may not count as a crash of the worker.
"""

import errno
import functools
import logging
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings

from batches.words import say_size
from leases.clock import database_now
from leases.renewing import Renewal

# A file may be refused for want of room, of a quota, or because of a limit on its size.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_ROOM_PAUSE = timedelta(minutes=1)
logger = logging.getLogger(__name__)


def free() -> int:
    return shutil.disk_usage(settings.DATA_DIR).free


def why_no_room() -> str:
    """Why nothing new is sent or collected now; empty where there is room enough."""
    left = free()
    if left >= settings.FREE_DISK:
        return ""
    return (
        f"The disk is nearly full: {say_size(left)} are free, and below "
        f"{say_size(settings.FREE_DISK)} nothing is sent or collected. Make room to go on."
    )


def patient(work: Callable[..., None]) -> Callable[..., None]:
    """The work on a leased row; where the disk is full the row waits, as it was."""

    @functools.wraps(work)
    def attempt(row: Any, renewal: Renewal, **more: Any) -> None:
        try:
            work(row, renewal, **more)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            logger.warning("%s waits for room on the disk: %s", row, os.strerror(error.errno))
            said = f"The disk is full: {say_size(free())} are free. Make room to go on."
            changes = {"reason": said} if hasattr(row, "reason") else {}
            row.release(database_now() + NO_ROOM_PAUSE, **changes)

    return attempt
