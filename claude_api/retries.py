"""When to try again. Pure: it knows neither clock nor socket.

Creating a batch is no business of this policy: one that may exist is never sent again.
"""

from claude_api.errors import (
    ApiError,
    CertificateRefused,
    ClaudeError,
    NotSent,
    OutcomeUnknown,
    ServerError,
    SpendLimitReached,
)

BASE = 5.0
CAP = 300.0
RETRIED_STATUSES = frozenset({408, 409, 429})


def delay(error: ClaudeError, attempt: int, random: float) -> float | None:
    """Return the seconds to wait before the next try, or None where trying again is pointless.

    `attempt` counts the tries before this one, `random` lies in [0, 1) and shortens the wait by
    up to a quarter, so that many clients do not return together. A `retry-after` of the API
    is obeyed whatever its length.
    """
    if not _may_pass(error):
        return None
    if isinstance(error, ApiError) and error.retry_after is not None:
        return error.retry_after
    return min(CAP, BASE * 2.0 ** min(attempt, 16)) * (1 - 0.25 * random)


def _may_pass(error: ClaudeError) -> bool:
    if isinstance(error, SpendLimitReached | CertificateRefused):
        return False
    if isinstance(error, ApiError):
        return isinstance(error, ServerError) or error.status in RETRIED_STATUSES
    return isinstance(error, NotSent | OutcomeUnknown)
