"""Faults of what a request finds: batches not seen yet, and batches of somebody else."""

from datetime import timedelta
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from sandbox.batches import new_batch
from sandbox.faults.base import Interference, Operation, Seconds, Step
from sandbox.receiving import Received
from sandbox.requests import COUNTS_EARLY, FOREIGN, SCOPE, UNSEEN
from sandbox.store import RequestsWriter

VERSION = "2026-10-21"


class Lag(Interference, frozen=True, kw_only=True, tag="lag"):
    """What happened in the last `seconds` is not seen yet.

    A new batch is not listed, or not found; an ended one has no results.
    """

    layer = "world"
    operations = frozenset[Operation]({"list", "retrieve", "cancel", "results"})

    seconds: Seconds
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None

    async def advance(self, request: web.Request, step: Step) -> web.StreamResponse | None:
        request[UNSEEN] = timedelta(seconds=self.seconds)
        return await step(request)


class EarlyCounts(Interference, frozen=True, kw_only=True, tag="early_counts"):
    """Requests are counted as succeeded while their batch is in progress."""

    layer = "world"
    operations = frozenset[Operation]({"list", "retrieve", "cancel"})

    times: Annotated[int, msgspec.Meta(ge=1)] | None = None

    async def advance(self, request: web.Request, step: Step) -> web.StreamResponse | None:
        request[COUNTS_EARLY] = True
        return await step(request)


class ForeignBatches(Interference, frozen=True, kw_only=True, tag="foreign_batches"):
    """Somebody with a key of the same workspace makes batches meanwhile."""

    layer = "world"

    batches: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    requests: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1
    when: Literal["before", "after"] = "after"

    async def advance(self, request: web.Request, step: Step) -> web.StreamResponse | None:
        if self.when == "before":
            self._make(request)
        try:
            return await step(request)
        finally:
            if self.when == "after":
                self._make(request)

    def _make(self, request: web.Request) -> None:
        request[FOREIGN] = [
            add_foreign(request, number, self.requests) for number in range(self.batches)
        ]


def add_foreign(request: web.Request, number: int, size: int) -> str:
    """Adds a batch that no request brought; its id."""
    scope = request[SCOPE]
    directory = scope.store.new_directory()
    writer = RequestsWriter(directory)
    content = Received([f"foreign-{number}-{position}" for position in range(size)], size)
    for custom_id in content.custom_ids:
        writer.write(msgspec.json.encode(_request(custom_id)) + b"\n", succeeds=True)
    writer.finish()
    batch = new_batch(scope, VERSION, 0.0, content)
    scope.store.add(batch, directory)
    return batch.id


def _request(custom_id: str) -> dict[str, object]:
    messages = [{"role": "user", "content": f"Say hello to {custom_id}."}]
    params = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": messages}
    return {"custom_id": custom_id, "params": params}
