"""What every response tells the browser, errors and redirects included."""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in (
        "accelerometer",
        "camera",
        "display-capture",
        "geolocation",
        "gyroscope",
        "magnetometer",
        "microphone",
        "payment",
        "usb",
    )
)


def content_security_policy() -> str:
    """SECURE_CSP, which has the form that Django gives it from version 6 on, as a header."""
    return "; ".join(" ".join([name, *sources]) for name, sources in settings.SECURE_CSP.items())


def add_headers(request: HttpRequest, response: HttpResponseBase) -> None:
    response.headers.setdefault("Content-Security-Policy", content_security_policy())
    response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    # Static files state their own; what is left holds a team's data. The cookie stands for the
    # session, because looking at request.user would ask the database once more.
    if settings.SESSION_COOKIE_NAME in request.COOKIES:
        response.headers.setdefault("Cache-Control", "no-store")


@sync_and_async_middleware
def SecurityHeadersMiddleware(get_response: Callable[[HttpRequest], Any]) -> Callable:  # noqa: N802
    if iscoroutinefunction(get_response):

        async def answer_async(request: HttpRequest) -> HttpResponseBase:
            pending: Awaitable[HttpResponseBase] = get_response(request)
            response = await pending
            add_headers(request, response)
            return response

        return answer_async

    def answer(request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = get_response(request)
        add_headers(request, response)
        return response

    return answer
