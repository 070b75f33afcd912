import pytest

from claude_api import (
    ApiError,
    CertificateRefused,
    LineTooLong,
    NotFound,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Redirected,
    ServerError,
    SpendLimitReached,
    delay,
)


def test_it_doubles_up_to_the_cap():
    waits = [delay(NotSent("refused"), attempt, 0.0) for attempt in range(8)]
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300]
    assert delay(NotSent("refused"), 10**9, 0.0) == 300


def test_chance_shortens_the_wait_by_up_to_a_quarter():
    assert delay(OutcomeUnknown("cut"), 1, 0.5) == 8.75
    assert delay(OutcomeUnknown("cut"), 1, 1.0) == 7.5


@pytest.mark.parametrize("seconds", [0.0, 37.0, 90_000.0])
def test_retry_after_is_obeyed_whatever_its_length(seconds):
    assert delay(RateLimited("slow", status=429, retry_after=seconds), 5, 0.9) == seconds


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503, 529])
def test_what_may_pass_is_tried_again(status):
    kind = ServerError if status >= 500 else ApiError
    assert delay(kind("no", status=status), 0, 0.0) == 5


@pytest.mark.parametrize(
    "error",
    [
        *(ApiError("no", status=status, retry_after=1) for status in (400, 401, 402, 403, 413)),
        NotFound("gone", status=404),
        SpendLimitReached("cap", status=429, retry_after=5),
        CertificateRefused("who"),
        Redirected("there"),
        LineTooLong(3, 10),
    ],
    ids=repr,
)
def test_what_cannot_pass_is_not(error):
    assert delay(error, 0, 0.0) is None
