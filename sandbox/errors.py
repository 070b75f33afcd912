"""Answers that are not 200, in the shapes of the API."""

from typing import Any


class ApiError(Exception):
    """A refusal with its HTTP status, `error.type` and the sentence the client reads."""

    def __init__(self, status: int, kind: str, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.code = code

    def body(self, request_id: str | None) -> dict[str, Any]:
        """The ErrorResponse: the HTTP body, and what stands in an errored result row."""
        error: dict[str, Any] = {"type": self.kind, "message": self.message}
        if self.code:
            error["details"] = {"error_code": self.code}
        return {"type": "error", "error": error, "request_id": request_id}


class TooLargeError(ApiError):
    """A body above the limit. The edge answers before the API does, hence the poorer shape."""

    def __init__(self) -> None:
        super().__init__(413, "request_too_large", "Request exceeds the maximum size")

    def body(self, request_id: str | None) -> dict[str, Any]:
        return {"error": {"type": self.kind, "message": self.message}}


def invalid(message: str, code: str | None = None) -> ApiError:
    return ApiError(400, "invalid_request_error", message, code)


def not_found(message: str) -> ApiError:
    return ApiError(404, "not_found_error", message)
