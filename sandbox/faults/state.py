"""The faults of one scope that wait, and how often each was met."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from sandbox.faults.base import Fault, Layer, Operation
from sandbox.identifiers import digest

PARTS = 1_000_000


@dataclass
class Waiting:
    """A fault with the requests it could have happened to, and those it did happen to."""

    fault: Fault
    seen: int = 0
    applied: int = 0

    def meet(self) -> bool:
        """Counts a request; whether the fault could happen to it."""
        self.seen += 1
        if self.is_over() or self.seen <= self.fault.after:
            return False
        drawn = digest(f"{self.fault.seed} fault", f"{self.seen}") % PARTS
        return drawn < self.fault.share * PARTS

    def is_over(self) -> bool:
        return self.fault.times is not None and self.applied >= self.fault.times

    def shown(self) -> dict[str, Any]:
        return {**msgspec.to_builtins(self.fault), "seen": self.seen, "applied": self.applied}


class Faults:
    """In the order in which they were asked for: of two of a layer the first goes first."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self.waiting = [Waiting(fault) for fault in faults]

    def add(self, fault: Fault) -> Waiting:
        waiting = Waiting(fault)
        self.waiting.append(waiting)
        return waiting

    def clear(self) -> int:
        count = len(self.waiting)
        self.waiting.clear()
        return count

    def take(
        self, layer: Layer, operation: Operation, response: web.StreamResponse | None = None
    ) -> Fault | None:
        """The fault that happens to this request; it counts as applied."""
        taken: Waiting | None = None
        for waiting in self.waiting:
            fault = waiting.fault
            if fault.layer != layer or not fault.happens_to(operation):
                continue
            if response is not None and not fault.fits(response):
                continue
            if waiting.meet() and taken is None:
                taken = waiting
        if taken is None:
            return None
        taken.applied += 1
        return taken.fault
