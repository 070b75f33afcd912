"""From what HTTP gave to what a caller is told. Pure: no socket is touched here."""

import math
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx
import msgspec

from claude_api.errors import (
    BY_CODE,
    BY_STATUS,
    BY_TYPE,
    ApiError,
    CertificateRefused,
    ClaudeError,
    NotSent,
    OutcomeUnknown,
    Redirected,
    ServerError,
    SpendLimitReached,
)
from claude_api.types import ReplyFacts

# httpx raises these before it asks for the first byte of a request.
NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
MESSAGE_LIMIT = 1_000
Shape = TypeVar("Shape")


class _Details(msgspec.Struct):
    error_code: str | None = None


class _Error(msgspec.Struct):
    type: str
    message: str
    details: _Details | None = None


class _ErrorBody(msgspec.Struct):
    error: _Error
    type: str = ""
    request_id: str | None = None


def read_facts(headers: httpx.Headers) -> ReplyFacts:
    """Read what a reply's headers say about itself."""
    date = _read_date(headers.get("date", ""))
    return ReplyFacts(
        request_id=headers.get("request-id", ""),
        workspace_id=headers.get("anthropic-workspace-id", ""),
        date=date,
        retry_after=_read_retry_after(headers.get("retry-after", ""), date),
    )


def read_refusal(response: httpx.Response, content: bytes, key: str) -> ClaudeError:
    """Turn a reply that is not 2xx into the error to raise; the key is cut from its text."""
    if response.status_code < 400:
        return Redirected(_describe_redirect(response))
    facts = read_facts(response.headers)
    status, body = response.status_code, _read_error_body(response.status_code, content)
    if body is None:
        chosen = ServerError if status >= 500 else ApiError
        return chosen(
            _describe_unshaped(response),
            status=status,
            request_id=facts.request_id,
            retry_after=facts.retry_after,
        )
    code = (body.error.details and body.error.details.error_code) or ""
    return _choose(status, code, body.error)(
        body.error.message.replace(key, "[key]")[:MESSAGE_LIMIT],
        status=status,
        type=body.error.type,
        code=code,
        request_id=facts.request_id or body.request_id or "",
        retry_after=facts.retry_after,
        shaped=True,
    )


def explain_break(
    error: httpx.RequestError, host: str, *, begun: bool, answered: bool
) -> NotSent | OutcomeUnknown:
    """Say whether a broken exchange can have done anything at the other side.

    `begun` is True once a byte of the request's body was handed to the network, `answered`
    once a 2xx status was read.
    """
    if isinstance(error, NEVER_SENT) and not begun:
        if _is_certificate(error):
            return CertificateRefused(f"Nothing was sent: the certificate of {host} is refused.")
        return NotSent(f"Nothing was sent to {host}: {_describe(error)}.")
    return OutcomeUnknown(
        f"The exchange with {host} broke before its end: {_describe(error)}.", answered=answered
    )


def _choose(status: int, code: str, error: _Error) -> type[ApiError]:
    """Code, then type, then status; but a 5xx is never taken for a refusal."""
    if code in BY_CODE:
        return BY_CODE[code]
    if status >= 500:
        return ServerError
    # The organisation's own limit has neither a code nor a type of its own.
    if status == 400 and "reached your specified API usage limits" in error.message:
        return SpendLimitReached
    return BY_TYPE.get(error.type) or BY_STATUS.get(status, ApiError)


def _read_error_body(status: int, content: bytes) -> _ErrorBody | None:
    """Read a body of the API's own shape, or of the one its front answers a 413 with."""
    try:
        body = msgspec.json.decode(content, type=_ErrorBody)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    from_front = status == 413 and body.error.type == "request_too_large"
    return body if body.type == "error" or from_front else None


def _describe_unshaped(response: httpx.Response) -> str:
    kind = response.headers.get("content-type", "no content type").partition(";")[0]
    return f"the body ({kind}) is not an error of the Claude API; a proxy may have answered"


def _describe_redirect(response: httpx.Response) -> str:
    target = response.headers.get("location", "")
    try:
        place = httpx.URL(target).host
    except httpx.InvalidURL:
        place = ""
    return (
        f"{response.request.url.host} answers {response.status_code} and points to "
        f"{place or 'another address'}; redirects are not followed. Correct the API's URL."
    )


def _describe(error: httpx.RequestError) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection within the time limit"
    if isinstance(error, httpx.ReadTimeout):
        return "no byte came within the time limit"
    if isinstance(error, httpx.WriteTimeout):
        return "no byte was taken within the time limit"
    return str(error).strip().rstrip(".") or type(error).__name__


def _is_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _read_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _read_retry_after(text: str, date: datetime | None) -> float | None:
    """Read seconds, or a date measured from the reply's own clock."""
    try:
        seconds = float(text)
    except ValueError:
        until = _read_date(text)
        if until is None:
            return None
        seconds = (until - (date or datetime.now(UTC))).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def read_body(content: bytes, shape: type[Shape]) -> Shape:
    """Decode a 2xx body; raise OutcomeUnknown, answered, where it is not what was promised."""
    try:
        return msgspec.json.decode(content, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise OutcomeUnknown(
            f"The API agrees, but its answer cannot be read as {shape.__name__}: {error}.",
            answered=True,
        ) from error
