from collections.abc import Callable

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http.response import HttpResponseBase


class Handler(ASGIHandler):
    """Django, where a streamed response also ends well when it breaks or its client is gone.

    By itself Django leaves the generator, and the files it holds open, to the garbage collector,
    and after an exception never tells that the request is finished.
    """

    async def send_response(self, response: HttpResponseBase, send: Callable) -> None:
        try:
            await super().send_response(response, send)
        except Exception:
            await sync_to_async(response.close)()
            raise
        finally:
            close = getattr(getattr(response, "_iterator", None), "aclose", None)
            if close is not None:
                await close()
