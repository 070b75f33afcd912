"""The results of an ended batch, written while they are read."""

import random
from collections.abc import Iterator
from typing import Any

import msgspec

from sandbox.errors import ApiError
from sandbox.failing import Failures
from sandbox.identifiers import derived
from sandbox.lifecycle import Batch
from sandbox.replies import compose
from sandbox.store import Requests
from sandbox.validation import find_problem


def result_lines(batch: Batch, requests: Requests) -> Iterator[bytes]:
    """One line for each request, the same lines in the same shuffled order every time."""
    order = list(range(batch.size))
    random.Random(f"{batch.id} order").shuffle(order)
    leftover = batch.leftover()
    was_run = batch.was_run() if leftover else b"\x01" * batch.size
    failures = Failures(batch.failure_rate)
    with requests:
        for position in order:
            request = msgspec.json.decode(requests[position])
            result: dict[str, Any] = {"type": leftover}
            if was_run[position]:
                result = _run(batch, failures, position, request)
            line = {"custom_id": request["custom_id"], "result": result}
            yield msgspec.json.encode(line) + b"\n"


def _run(
    batch: Batch, failures: Failures, position: int, request: dict[str, Any]
) -> dict[str, Any]:
    params = request["params"]
    error = find_problem(params, batch.version, in_batch=True)
    if error is None:
        error = failures.error(position, params)
    if error is not None:
        return {"type": "errored", "error": _row_error(error)}
    identifier = derived("msg", batch.id, request["custom_id"])
    return {"type": "succeeded", "message": compose(params, identifier, service_tier="batch")}


def _row_error(error: ApiError) -> dict[str, Any]:
    body = error.body(None)
    body["error"] = {"details": {"error_visibility": "user_facing"}, **body["error"]}
    return body
