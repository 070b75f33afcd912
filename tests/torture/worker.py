"""A worker in a process of its own, forked from the harness, which has everything loaded.

It runs the same commands as a person's shell, with three instruments: a point at which it dies or
stops, a seeded bug, and for pauses a shorter lease.
"""

import ctypes
import logging
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from django.core.management import CommandError, call_command
from django.db import connections

from leases import models, renewing
from tests.torture import bugs
from tests.torture.points import Point, watch

SHORT_LEASE = timedelta(seconds=1)
LONGEST = 90.0
PR_SET_PDEATHSIG = 1


class Worker:
    """One that runs; `reached` says, once it has ended or stopped, which point it came to."""

    def __init__(
        self,
        log: Path,
        *command: str,
        point: Point | None = None,
        time: int = 1,
        how: signal.Signals = signal.SIGKILL,
        bug: str = "",
        short_lease: bool = False,
    ) -> None:
        def run() -> None:
            if short_lease:
                shorten_lease()
            # Before the bug: a point is where the program has it.
            if point is not None:
                watch(point, time, writing, how)
            bugs.plant(bug)
            call_command(*command)

        self._pipe, writing = os.pipe()
        self.pid = fork(run, log)
        os.close(writing)
        self.status: int | None = None
        self.reached = ""

    def wait(self, seconds: float = LONGEST) -> bool:
        """Until it has ended, or until `seconds` are over: then False."""
        deadline = time.monotonic() + seconds
        while self.status is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self._end(status)
            elif time.monotonic() > deadline:
                return False
            else:
                time.sleep(0.003)
        return True

    def wait_for_stop(self) -> bool:
        """Until it has stopped at its point (True) or ended (False)."""
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            self.reached = os.read(self._pipe, 100).decode()
            return True
        self._end(status)
        return False

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self._end(os.waitpid(self.pid, 0)[1])

    def _end(self, status: int) -> None:
        self.status = status
        if select.select([self._pipe], [], [], 0)[0]:
            self.reached = os.read(self._pipe, 100).decode() or self.reached
        os.close(self._pipe)

    @property
    def was_killed(self) -> bool:
        return self.status is not None and os.WIFSIGNALED(self.status)


def fork(work: Callable[[], None], log: Path) -> int:
    """Run `work` in a child of this process, which has no threads and leaves no connection open."""
    connections.close_all()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        end_with_parent()
        redirect(log)
        random.seed()
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except CommandError as error:
        sys.stderr.write(f"{error}\n")
        code = error.returncode
    except BaseException:
        traceback.print_exc()
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def end_with_parent() -> None:
    """Also one that sleeps: where there is Linux nothing outlives a run, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def redirect(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def shorten_lease() -> None:
    """So that a pause longer than a lease takes a second, not twenty."""
    models.LEASE = SHORT_LEASE
    renewing.renewing.__wrapped__.__defaults__ = (SHORT_LEASE.total_seconds() / 4,)
