import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient
from pytest_django import Settings

from streaming import relay
from tests.cast import Cast
from tests.processes import Sandbox
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
