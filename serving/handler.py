from collections.abc import Callable

from django.core.handlers.asgi import ASGIHandler
from django.http.response import HttpResponseBase


class Handler(ASGIHandler):
    """Django, with the end of a streamed response whose client is gone: it is closed at once.

    Django itself leaves the generator, and the files it holds open, to the garbage collector.
    """

    async def send_response(self, response: HttpResponseBase, send: Callable) -> None:
        try:
            await super().send_response(response, send)
        finally:
            close = getattr(getattr(response, "_iterator", None), "aclose", None)
            if close is not None:
                await close()
