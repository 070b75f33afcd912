"""Named points of the program at which a worker dies or stops; the program knows nothing of them.

A point is the call or the return of a function, seen by the interpreter's profiling hook, and
where that is not exact enough, only below another function.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from time import sleep
from types import CodeType, FrameType
from typing import Any, NamedTuple


class Point(NamedTuple):
    name: str
    event: str
    function: str
    within: str = ""
    most: int = 1  # which time it is reached is drawn up to this


BATCH_COUNT = "batches.models.batch:Batch.recount"
PUT_IN_PLACE = "batches.archive:put_in_place"
CREATE = "claude_api.client:Client.create_batch"
HEAD = "httpcore._sync.http11:HTTP11Connection._receive_response_headers"
SUBMITTING = "batches.submitting"
RECONCILING = "batches.reconciling"
COLLECTING = "batches.collecting"
BUILDING = "batches.building"
DELETING = "batches.deleting_remote"
CANCEL = "claude_api.client:Client.cancel_batch"
DELETE = "claude_api.client:Client.delete_batch"
MIRROR = "batches.polling:save_mirror"

SUBMIT = (
    Point("K1 list head known", "call", f"{SUBMITTING}:intend"),
    Point("K1 intent not committed", "call", BATCH_COUNT, f"{SUBMITTING}:intend"),
    Point("K2 before the claim", "call", "leases.models:LeaseQuerySet.claim", f"{SUBMITTING}:step"),
    Point("K2 claimed", "call", f"{SUBMITTING}:submit"),
    Point("K3 before the connect", "call", CREATE),
    Point("K4 in the body", "call", "leases.renewing:Renewal.check", CREATE),
    Point("K5 body sent", "call", HEAD, CREATE),
    Point("K6 answer arriving", "return", HEAD, CREATE),
    Point("K6 answer in memory", "call", f"{SUBMITTING}:write_created"),
    Point("K7 journal without its name", "call", PUT_IN_PLACE, f"{SUBMITTING}:write_created"),
    Point("K7 journal written", "call", f"{SUBMITTING}:save_created"),
    Point("K7 save not committed", "call", BATCH_COUNT, f"{SUBMITTING}:save_created"),
    Point("K8 saved", "return", f"{SUBMITTING}:save_created"),
)
LOOK = (
    Point("R1 listed", "call", f"{RECONCILING}:judge"),
    Point("R2 look not committed", "call", BATCH_COUNT, f"{RECONCILING}:keep_looking"),
    Point("R3 found", "call", f"{RECONCILING}:take"),
    Point("R4 found, not committed", "call", BATCH_COUNT, f"{RECONCILING}:take"),
)
COLLECT = (
    Point("C1 mirrored", "call", MIRROR),
    Point("C2 in the download", "call", "batches.proof:Proof.take", f"{COLLECTING}:download", 4),
    Point("C3 file without its name", "call", PUT_IN_PLACE, f"{COLLECTING}:download"),
    Point("C4 before the proof", "call", f"{COLLECTING}:judge"),
    Point("C5 between proof and index", "call", f"{COLLECTING}:store"),
    Point("C6 in a chunk", "call", "batches.indexing:newer_runs"),
    Point("C7 in the index", "return", "batches.indexing:insert", most=3),
    Point(
        "C8 before the flip",
        "call",
        "batches.models.message_batch:MessageBatch.release_as",
        f"{COLLECTING}:store",
    ),
    Point("C9 flip not committed", "call", BATCH_COUNT, f"{COLLECTING}:store"),
    Point("C10 flipped", "call", "batches.archive:remove_older", f"{COLLECTING}:store"),
)
BUILD = (
    Point("B1 in the file", "call", f"{BUILDING}:write_request", most=8),
    Point("B2 between chunks", "return", f"{BUILDING}:insert", most=2),
    Point("B3 before the flip", "call", f"{BUILDING}:queue"),
    Point("B4 flip not committed", "call", BATCH_COUNT, f"{BUILDING}:queue"),
)
STOP = (
    Point("X1 before the cancel", "call", CANCEL),
    Point("X2 cancel sent", "call", HEAD, CANCEL),
    Point("X3 cancel answered", "return", CANCEL),
    Point("X4 cancel not saved", "call", MIRROR, "batches.cancelling:cancel"),
)
REMOVE = (
    Point("D1 before the delete", "call", DELETE),
    Point("D2 delete sent", "call", HEAD, DELETE),
    Point("D3 delete answered", "return", DELETE),
    Point("D4 delete not saved", "call", f"{DELETING}:finish"),
    Point("D5 index gone", "call", "batches.deleting:remove_files"),
    Point("D6 files gone", "return", "batches.archive:delete"),
    Point("D7 rows last", "call", "batches.deleting:remove_rows"),
)
EVERY = (*SUBMIT, *LOOK, *COLLECT, *BUILD, *STOP, *REMOVE)
# Where a worker may sleep past its lease: inside of a transaction it would hold up all others.
PAUSES = tuple(
    point
    for point in (*SUBMIT, *COLLECT)
    if point.name[:3] not in ("K2 ", "C1 ", "C6 ") and "not committed" not in point.name
)


def watch(point: Point, time: int, reached: int, how: signal.Signals) -> None:
    """Send this process a signal when it comes to the point for the `time`th time.

    Before that the point's name goes into the pipe `reached`: whoever waits knows that it was.
    """
    code = find_code(point.function)
    outer = find_code(point.within) if point.within else None
    seen = 0

    def look(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal seen
        if frame.f_code is not code or event != point.event:
            return
        if outer is not None and not is_below(frame, outer):
            return
        seen += 1
        if seen == time:
            sys.setprofile(None)
            while how == signal.SIGSTOP and not others_wait():
                sleep(0.001)
            os.write(reached, point.name.encode())
            os.kill(os.getpid(), how)

    sys.setprofile(look)


def others_wait() -> bool:
    """Whether no other thread can be within a transaction, in which it would hold up everybody."""
    frames = sys._current_frames()
    del frames[threading.get_ident()]
    return all(frame.f_code.co_filename == threading.__file__ for frame in frames.values())


def is_below(frame: FrameType, code: CodeType) -> bool:
    above = frame.f_back
    while above is not None:
        if above.f_code is code:
            return True
        above = above.f_back
    return False


def find_code(name: str) -> CodeType:
    found = find(name)
    return getattr(found, "__wrapped__", found).__code__


def find(name: str) -> Callable[..., Any]:
    """What `module:Class.method` names."""
    module, _, path = name.partition(":")
    found: Any = import_module(module)
    for step in path.split("."):
        found = getattr(found, step)
    return found
