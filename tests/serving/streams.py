"""Run by tests/serving/test_server.py behind `manage.py serve`; each page does one thing."""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.core.signals import request_finished, request_started
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from serving.handler import Handler

logger = logging.getLogger(__name__)
PIECE = bytes(range(256)) * 256
counts = {"started": 0, "finished": 0}


def count(name: str) -> Callable[..., None]:
    def add(**details: Any) -> None:
        counts[name] += 1

    return add


request_started.connect(started := count("started"))
request_finished.connect(finished := count("finished"))


@login_not_required
async def pour(request: HttpRequest, pieces: int) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[bytes]:
        try:
            for number in range(pieces):
                if number % 100 == 0:
                    logger.info("poured on")
                yield PIECE
        finally:
            logger.info("poured out")

    return StreamingHttpResponse(body())


@login_not_required
async def break_off(request: HttpRequest) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[bytes]:
        yield PIECE
        raise RuntimeError("broken off")

    return StreamingHttpResponse(body())


@login_not_required
@csrf_exempt
def digest(request: HttpRequest) -> HttpResponse:
    found = hashlib.sha256()
    while piece := request.read(10_000):
        found.update(piece)
    return HttpResponse(found.hexdigest())


@login_not_required
def slow(request: HttpRequest) -> HttpResponse:
    logger.info("slow begins")
    time.sleep(0.5)
    return HttpResponse("slow is done")


@login_not_required
async def hang(request: HttpRequest) -> HttpResponse:
    logger.info("hang begins")
    await asyncio.sleep(600)
    return HttpResponse()


@login_not_required
def unfinished(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(counts["started"] - counts["finished"] - 1))


@login_not_required
def address(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.META["REMOTE_ADDR"])


urlpatterns = [
    path("pour/<int:pieces>", pour),
    path("break", break_off),
    path("digest", digest),
    path("slow", slow),
    path("hang", hang),
    path("unfinished", unfinished),
    path("address", address),
]
pages = Handler()


async def application(scope: dict[str, Any], receive: Callable, send: Callable) -> None:
    if scope["type"] == "http":
        await pages(scope, receive, send)
        return
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    await sockets[scope["path"]](receive, send)


async def flood(receive: Callable, send: Callable) -> None:
    for number in range(1, 3201):
        await send({"type": "websocket.send", "bytes": PIECE})
        if number % 100 == 0:
            logger.info("flooded %d", number)
    await send({"type": "websocket.close"})


async def echo(receive: Callable, send: Callable) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
    logger.info("echo ended with %s", message["code"])


async def ignore(receive: Callable, send: Callable) -> None:
    await asyncio.sleep(2)


sockets = {"/flood": flood, "/echo": echo, "/ignore": ignore}
