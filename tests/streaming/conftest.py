import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient
from playwright.sync_api import Browser
from pytest_django import Settings

from streaming import relay
from streaming.models import Conversation
from tests.browser import Site
from tests.cast import Cast, gather
from tests.processes import Sandbox
from tests.streaming.pages import begin
from tests.streaming.reader import Reader
from workspaces.keys import save_key


@pytest.fixture
def key(cast: Cast, settings: Settings, sandbox: Sandbox, scope: str) -> str:
    """The workspace asks the sandbox, in a scope of its own."""
    settings.SANDBOX_URL = sandbox.url
    save_key(cast.workspace, "sandbox", scope)
    return scope


@pytest.fixture
async def sign_in(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[User], AsyncClient]]:
    """Makes a client whose presses begin answers; the test ends when they have ended."""
    monkeypatch.setattr(relay, "FRAMES_LAST", 0.0)

    async def make(user: User) -> AsyncClient:
        client = AsyncClient()
        await client.aforce_login(user)
        return client

    yield make
    await all_written()


async def all_written() -> None:
    while relay._tasks:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


@pytest.fixture
def cast_with_key(site: Site, settings: Settings, sandbox: Sandbox, scope: str) -> Cast:
    settings.SANDBOX_URL = sandbox.url
    cast = gather()
    save_key(cast.workspace, "sandbox", scope)
    return cast


@pytest.fixture
def conversation(cast_with_key: Cast) -> Conversation:
    return begin(cast_with_key)


@pytest.fixture
def reader(browser: Browser, site: Site, cast_with_key: Cast) -> Iterator[Callable[..., Reader]]:
    readers: list[Reader] = []

    def make(name: str = "bob", url: str = site.url) -> Reader:
        readers.append(Reader(browser, url, getattr(cast_with_key, name)))
        return readers[-1]

    yield make
    for one in readers:
        one.context.close()
    assert [complaint for one in readers for complaint in one.complaints] == []
