"""A stated share of batch requests that go wrong, for demonstrations."""

import math
from typing import Any

import msgspec

from sandbox.errors import ApiError, invalid
from sandbox.identifiers import digest

KINDS = ("overloaded", "invalid", "cut_off", "refusal")


class Failures:
    """Which requests of a batch fail, and how: `rate` of them, evenly spread.

    The position decides whether, so that the share is exact and a request that failed and is
    sent again among few others succeeds; the content decides how.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def kind(self, position: int, params: dict[str, Any]) -> str | None:
        if math.floor((position + 1) * self.rate + 0.5) == math.floor(position * self.rate + 0.5):
            return None
        return KINDS[digest("failure", msgspec.json.encode(params)) % len(KINDS)]

    def error(self, position: int, params: dict[str, Any]) -> ApiError | None:
        """The error of the row; a cut-off answer and a refusal are successes to the API."""
        kind = self.kind(position, params)
        if kind == "overloaded":
            return ApiError(529, "overloaded_error", "Overloaded")
        if kind == "invalid":
            return invalid("messages: refused by the sandbox because its failure rate is above 0")
        return None
