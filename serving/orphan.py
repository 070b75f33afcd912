"""No process of `make run` outlives the one that started it, however that one ended."""

import os
import signal
import threading
import time
from collections.abc import Callable

PARENT = "SLUICE_PARENT"
THREAD = "watch parent"
LOOK_EVERY = 0.5


def stop_this_process() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def watch_parent(on_gone: Callable[[], None] = stop_this_process) -> threading.Thread | None:
    """Call `on_gone` once the process named in SLUICE_PARENT is no longer our parent.

    Looks every half second, in a daemon thread: one per process, however often this is called.
    None where no parent is named.
    """
    parent = os.environ.get(PARENT)
    if not parent:
        return None
    for thread in threading.enumerate():
        if thread.name == THREAD:
            return thread
    thread = threading.Thread(target=_watch, args=(int(parent), on_gone), name=THREAD, daemon=True)
    thread.start()
    return thread


def _watch(parent: int, on_gone: Callable[[], None]) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    on_gone()
