"""Every way into the application: the routes of the resolver and those of the websockets."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver

from workspaces.models import Workspace

# What these hold is not ours: walked as a whole.
PREFIXES = ("accounts/", "admin/")


def routes(patterns: Iterable[URLPattern | URLResolver], place: str = "") -> Iterator[tuple]:
    """(name, names of its arguments) of every route that is ours, namespaces included."""
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            name = pattern.name or str(pattern.pattern)
            yield place + name, set(pattern.pattern.converters)
        elif str(pattern.pattern) not in PREFIXES:
            inner = f"{place}{pattern.namespace}:" if pattern.namespace else place
            for name, arguments in routes(pattern.url_patterns, inner):
                yield name, arguments | set(pattern.pattern.converters)


def socket_names(patterns: Iterable[URLPattern]) -> list[str]:
    return [pattern.name or str(pattern.pattern) for pattern in patterns]


async def may_connect(application: Callable, path: str, user: User | None) -> bool:
    """Whether the socket is accepted, for a browser of ours in which `user` is signed in."""
    headers = [(b"origin", b"http://localhost"), (b"host", b"localhost")]
    if user is not None:
        headers.append((b"cookie", await session_cookie(user)))
    socket = WebsocketCommunicator(application, path, headers=headers)
    accepted, _ = await socket.connect()
    await socket.disconnect()
    return bool(accepted)


async def session_cookie(user: User) -> bytes:
    client = Client()
    await client.aforce_login(user)
    name = settings.SESSION_COOKIE_NAME
    return f"{name}={client.cookies[name].value}".encode()


def arguments_in(
    workspace: Workspace, names: Iterable[str], objects: dict[str, Callable[[Workspace], Any]]
) -> dict[str, Any]:
    """Arguments of a route inside a workspace; `objects` makes what the other names stand for."""
    return {
        name: workspace.slug if name == "slug" else objects[name](workspace)
        for name in sorted(names)
    }
