"""The results of an ended batch, written while they are read."""

import random
from collections.abc import Iterator
from typing import Any

import msgspec

from sandbox.errors import ApiError
from sandbox.failing import Failures
from sandbox.identifiers import derived
from sandbox.lifecycle import Batch
from sandbox.models import Model, find_model
from sandbox.replies import answer, message
from sandbox.store import Requests
from sandbox.usage import Caching, cache, count_input, usage
from sandbox.validation import find_problem

CACHE_MARK = b'"cache_control"'


def result_lines(batch: Batch, requests: Requests) -> Iterator[bytes]:
    """One line for each request, the same lines in the same shuffled order every time."""
    with requests:
        yield from _Results(batch, requests).lines()


class _Results:
    def __init__(self, batch: Batch, requests: Requests) -> None:
        self.batch = batch
        self.requests = requests
        self.failures = Failures(batch.failure_rate)
        self.leftover = batch.leftover()
        self.was_run = batch.was_run() if self.leftover else b"\x01" * batch.size
        self.cached_since: dict[bytes, int] = {}

    def lines(self) -> Iterator[bytes]:
        self._fill_cache()
        order = list(range(self.batch.size))
        random.Random(f"{self.batch.id} order").shuffle(order)
        for position in order:
            line = self.requests[position]
            request = msgspec.json.decode(line)
            result: dict[str, Any] = {"type": self.leftover}
            if self.was_run[position]:
                result = self._run(position, request, CACHE_MARK in line)
            yield msgspec.json.encode({"custom_id": request["custom_id"], "result": result}) + b"\n"

    def _fill_cache(self) -> None:
        """Notes at which request each prefix is written: those after it in the file read it."""
        for position, line in enumerate(self.requests):
            if CACHE_MARK not in line or not self.was_run[position]:
                continue
            body = msgspec.json.decode(line)["params"]
            if self._error(position, body) is None:
                for key in self._cached(position, body, self._model(body)).written:
                    self.cached_since.setdefault(key, position)

    def _run(self, position: int, request: dict[str, Any], marked: bool) -> dict[str, Any]:
        body = request["params"]
        error = self._error(position, body)
        if error is not None:
            return {"type": "errored", "error": _row_error(error)}
        model = self._model(body)
        answered = answer(body, model, self.failures.kind(position, body))
        used = usage(
            count_input(body),
            self._cached(position, body, model) if marked else None,
            answered.output_tokens,
            answered.thinking_tokens,
            "batch",
        )
        identifier = derived("msg", self.batch.id, request["custom_id"])
        return {"type": "succeeded", "message": message(body, answered, identifier, used)}

    def _error(self, position: int, body: dict[str, Any]) -> ApiError | None:
        problem = find_problem(body, self.batch.version, in_batch=True)
        return problem or self.failures.error(position, body)

    def _cached(self, position: int, body: dict[str, Any], model: Model) -> Caching:
        since = self.cached_since
        return cache(body, model, lambda key: since.get(key, position) < position)

    def _model(self, body: dict[str, Any]) -> Model:
        model = find_model(body["model"])
        assert model is not None  # else the request has an error
        return model


def _row_error(error: ApiError) -> dict[str, Any]:
    body = error.body(None)
    body["error"] = {"details": {"error_visibility": "user_facing"}, **body["error"]}
    return body
