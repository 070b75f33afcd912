"""Faults of what a request is told: refusals, redirects, silence, nothing at all."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from sandbox.errors import ApiError
from sandbox.faults.base import Interference, Operation, Seconds, Size, Step
from sandbox.faults.wire import End, hang_up, keep_silent, read_body
from sandbox.requests import RECEIVED, REQUEST_ID, refusal

When = Literal["before_body", "in_body", "after_body", "after_effect"]
Shape = Literal["api", "edge", "html", "text", "json", "empty"]

TYPES = {
    400: ("invalid_request_error", "Bad Request"),
    401: ("authentication_error", "API key is invalid."),
    402: ("billing_error", "Your credit balance is too low to access the Anthropic API."),
    403: (
        "permission_error",
        "Your API key does not have permission to use the specified resource.",
    ),
    404: ("not_found_error", "Not Found"),
    408: ("timeout_error", "Request Timeout"),
    409: ("conflict_error", "Conflict"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit."),
    500: ("api_error", "Internal server error"),
    502: ("api_error", "Bad Gateway"),
    503: ("api_error", "Service Unavailable"),
    504: ("timeout_error", "Gateway Timeout"),
    529: ("overloaded_error", "Overloaded"),
}
# What else stands in front of the API answers in its own way.
PLAIN_SHAPES: dict[str, tuple[str, str]] = {
    "edge": ("application/json", '{{"error": {{"type": "{kind}", "message": "{reason}"}}}}'),
    "html": ("text/html", "<html><body><h1>{code} {reason}</h1><hr>nginx</body></html>\n"),
    "text": ("text/plain", "upstream connect error or disconnect before headers"),
    "json": ("application/json", '{{"message": "{reason}"}}'),
    "empty": ("text/plain", ""),
}


class Answering(Interference, frozen=True, kw_only=True):
    """`when` says how far the request comes first; `in_body` after so many `bytes` of its body."""

    layer = "answer"

    when: When = "after_body"
    size: Size = msgspec.field(default=1, name="bytes")

    async def advance(self, request: web.Request, step: Step) -> web.StreamResponse | None:
        if self.when == "after_effect":
            return await step(request)
        if self.when != "before_body":
            await read_body(request, self.size if self.when == "in_body" else None)
        return None


class Status(Answering, frozen=True, kw_only=True, tag="status"):
    """The API, or what stands before it, answers with an error."""

    code: Annotated[int, msgspec.Meta(ge=400, le=599)]
    error_type: str | None = None
    message: str | None = None
    error_code: str | None = None
    retry_after: Seconds | None = None
    shape: Shape = "api"
    request_id: bool = True

    async def finish(
        self, request: web.Request, response: web.StreamResponse | None
    ) -> web.StreamResponse:
        made = self._shaped(request) if self.shape == "api" else self._plain()
        if self.retry_after is not None:
            made.headers["retry-after"] = f"{self.retry_after:g}"
        return made

    def _shaped(self, request: web.Request) -> web.Response:
        error = ApiError(self.code, *self._told(), self.error_code)
        return refusal(error, request[REQUEST_ID] if self.request_id else None)

    def _told(self) -> tuple[str, str]:
        kind, message = TYPES.get(self.code, ("api_error", "Unexpected"))
        return self.error_type or kind, self.message or message

    def _plain(self) -> web.Response:
        content_type, text = PLAIN_SHAPES[self.shape]
        kind, reason = self._told()
        text = text.format(code=self.code, kind=kind, reason=reason)
        return web.Response(text=text, status=self.code, content_type=content_type)


class Redirect(Answering, frozen=True, kw_only=True, tag="redirect"):
    """A 3xx to another host."""

    location: str = "http://127.0.0.1:9/elsewhere"
    code: Literal[301, 302, 303, 307, 308] = 307

    async def finish(
        self, request: web.Request, response: web.StreamResponse | None
    ) -> web.StreamResponse:
        return web.Response(status=self.code, headers={"location": self.location})


class Drop(Answering, frozen=True, kw_only=True, tag="drop"):
    """The connection ends without an answer, with a FIN or reset."""

    end: End = "fin"

    async def finish(
        self, request: web.Request, response: web.StreamResponse | None
    ) -> web.StreamResponse:
        return await hang_up(request, self.end)


class Silence(Answering, frozen=True, kw_only=True, tag="silence"):
    """No answer for so many seconds, then the end of the connection."""

    seconds: Seconds = 600

    async def finish(
        self, request: web.Request, response: web.StreamResponse | None
    ) -> web.StreamResponse:
        await keep_silent(request, self.seconds)
        return await hang_up(request)


class Delay(Interference, frozen=True, kw_only=True, tag="delay"):
    """The right answer, so many seconds later; the effect comes before the wait or after it."""

    layer = "answer"

    seconds: Seconds
    when: Literal["before_effect", "after_effect"] = "after_effect"

    async def advance(self, request: web.Request, step: Step) -> web.StreamResponse | None:
        if self.when == "before_effect":
            await asyncio.sleep(self.seconds)
        return await step(request)

    async def finish(
        self, request: web.Request, response: web.StreamResponse | None
    ) -> web.StreamResponse:
        if self.when == "after_effect":
            await asyncio.sleep(self.seconds)
        return await super().finish(request, response)


class Late(Interference, frozen=True, kw_only=True, tag="late"):
    """The answer is lost at once, or kept back, and the effect comes so many seconds later."""

    layer = "answer"
    operations = frozenset[Operation]({"create", "cancel", "delete"})

    seconds: Seconds
    silent: bool = False
    end: End = "fin"

    async def advance(self, request: web.Request, step: Step) -> web.StreamResponse | None:
        lose: Callable[[], Awaitable[None]] = partial(self._lose, request)
        request[RECEIVED] = lose
        return await step(request)

    async def _lose(self, request: web.Request) -> None:
        """Runs where the handler has the whole request and has done nothing yet."""
        if not self.silent:
            await hang_up(request, self.end)
        await asyncio.sleep(self.seconds)

    async def finish(
        self, request: web.Request, response: web.StreamResponse | None
    ) -> web.StreamResponse:
        return await hang_up(request)
