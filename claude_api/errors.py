"""What can go wrong between us and the Claude API.

ClaudeError
├── NotSent                 nothing the API could act on has left this machine
│   └── CertificateRefused  the other side is not who it says it is
├── OutcomeUnknown          it broke after the first byte may have left
├── Redirected              3xx, never followed
├── ApiError                the API, or something in front of it, answered 400 or more
│   ├── InvalidRequest      400 invalid_request_error
│   ├── KeyRefused          401 authentication_error
│   ├── BillingRefused      402 billing_error
│   ├── PermissionRefused   403 permission_error
│   ├── NotFound            404 not_found_error
│   ├── Conflict            409 conflict_error
│   ├── TooLarge            413 request_too_large
│   ├── RateLimited         429 rate_limit_error
│   ├── SpendLimitReached   429 or 400, the organisation's own cap: trying again is pointless
│   └── ServerError         500 and above, 529 overloaded_error among them
├── UnreadableLine          a results line without a custom_id or a result type
├── LineTooLong             a line or a server-sent event above its limit
└── UnexpectedEvent         a stream event that does not fit what came before it

`str(error)` is a sentence for a person; it never holds the key or a prompt.
"""

from typing import ClassVar


class ClaudeError(Exception):
    """Anything that keeps a call from giving its result."""


class NotSent(ClaudeError):
    """Nothing the API could act on has left: name lookup, connection, TLS, pool or proxy."""


class CertificateRefused(NotSent):
    """The certificate shown by the other side is not trusted."""


class OutcomeUnknown(ClaudeError):
    """Broken after the first byte may have left. A read is simply tried again.

    `answered` is True where a 2xx status was seen: the API did what was asked,
    only its answer is lost.
    """

    def __init__(self, message: str, *, answered: bool = False) -> None:
        super().__init__(message)
        self.answered = answered


class Redirected(ClaudeError):
    """The address answers with a redirect; the key is not carried elsewhere."""


class ApiError(ClaudeError):
    """An HTTP status of 400 or more.

    `shaped` is True where the body has the shape of the API's own errors. Without it
    something in between may have answered, and the status proves nothing.
    """

    refusing: ClassVar[bool] = True

    def __init__(
        self,
        message: str,
        *,
        status: int,
        type: str = "",
        code: str = "",
        request_id: str = "",
        retry_after: float | None = None,
        shaped: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.shaped = shaped

    def __str__(self) -> str:
        kind = f" {self.type}" if self.type else ""
        reference = f" (request {self.request_id})" if self.request_id else ""
        return f"The API answers {self.status}{kind}: {self.message.rstrip('.')}{reference}."

    @property
    def is_refusal(self) -> bool:
        """Whether the API itself said no before it did anything: nothing was created."""
        return self.shaped and self.refusing and self.status in REFUSING_STATUSES


class InvalidRequest(ApiError):
    """The request is malformed, or asks for what the model does not do."""


class KeyRefused(ApiError):
    """The API key is wrong, or was revoked."""


class BillingRefused(ApiError):
    """The organisation's billing stands in the way."""


class PermissionRefused(ApiError):
    """The key may not do this."""


class NotFound(ApiError):
    """No such batch, result or model, or not yet."""


class Conflict(ApiError):
    """The request collides with another one."""

    refusing = False


class TooLarge(ApiError):
    """The request is above the size the API accepts."""


class RateLimited(ApiError):
    """Too many requests; `retry_after` says when the next is welcome."""


class SpendLimitReached(ApiError):
    """A spend limit is used up; only raising it, or the next month, helps."""


class ServerError(ApiError):
    """The API failed or is overloaded; what it did before that is not documented."""

    refusing = False


class UnreadableLine(ClaudeError):
    """A results line in which not even custom_id and result.type can be found."""


class LineTooLong(ClaudeError):
    """A line, counted from 1, that is longer than the reader accepts."""

    def __init__(self, number: int, limit: int) -> None:
        super().__init__(f"Line {number:,} is longer than {limit:,} bytes.")
        self.number = number
        self.limit = limit


class UnexpectedEvent(ClaudeError):
    """A stream event that does not fit what came before it."""


# 408, 409 and 5xx are missing: nothing documents that they leave nothing behind.
REFUSING_STATUSES = frozenset({400, 401, 402, 403, 404, 413, 422, 429})

# The three tables are asked in this order: error.details.error_code, error.type, status.
BY_CODE: dict[str, type[ApiError]] = {
    "enforced_spend_limit_reached": SpendLimitReached,
    "contract_spend_limit_reached": SpendLimitReached,
}
BY_TYPE: dict[str, type[ApiError]] = {
    "invalid_request_error": InvalidRequest,
    "authentication_error": KeyRefused,
    "billing_error": BillingRefused,
    "permission_error": PermissionRefused,
    "not_found_error": NotFound,
    "conflict_error": Conflict,
    "request_too_large": TooLarge,
    "rate_limit_error": RateLimited,
    "api_error": ServerError,
    "timeout_error": ServerError,
    "overloaded_error": ServerError,
}
BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequest,
    401: KeyRefused,
    402: BillingRefused,
    403: PermissionRefused,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    429: RateLimited,
}
