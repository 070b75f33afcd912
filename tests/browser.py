"""A real browser before a real server: what it says in its console fails the test."""

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from pytest_django import Settings

from tests.processes import NEEDS, Sandbox, running, wait_for_line

CHROMIUM = Path("/usr/bin/chromium")
LISTENING = re.compile(r"Listening on TCP address ([\d.]+:\d+)")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(NEEDS.format("chromium"))
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright's event loop runs in this thread, where Django would refuse the database.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM))
        yield browser
        browser.close()


@dataclass
class Site:
    url: str
    data: Path


@pytest.fixture(scope="session")
def web(
    django_db_setup: None, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One web server for the run, on the database of the tests; it knows of their sandbox."""
    directory = tmp_path_factory.mktemp("web")
    data, log = directory / "data", directory / "log"
    data.mkdir()
    command = [sys.executable, "manage.py", "serve", "--port", "0"]
    environment = {**os.environ, "SLUICE_DATA_DIR": str(data), "SANDBOX_URL": sandbox.url}
    with running(*command, log=log, environment=environment) as process:
        yield Site(f"http://{wait_for_line(process, log, LISTENING)[1]}", data)
        assert process.poll() is None, f"the web server died:\n{log.read_text()}"


@pytest.fixture
def site(
    transactional_db: None, web: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Site:
    """The web server, with this test writing to the data directory that it reads."""
    settings.DATA_DIR = web.data
    monkeypatch.setenv("SLUICE_DATA_DIR", str(web.data))
    return web


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A page of a fresh session; `page.goto("/")` opens the site."""
    complaints: list[str] = []
    context = browser.new_context(base_url=site.url, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("console", lambda message: note(complaints, message))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert not complaints


def note(complaints: list[str], message: Any) -> None:
    """Breaches of the content security policy come here as errors, too."""
    if message.type in ("error", "warning"):
        complaints.append(message.text)
