"""Photographs every page in each of its states: make screenshots.

Writes screenshots/NAME-WIDTH-THEME.png and screenshots/index.html, which shows them side by side.
`python -m tests.screenshots WORD…` takes only the states whose name has one of these words in it.
"""

import argparse
import html
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser import CHROMIUM, LISTENING
from tests.processes import ROOT, running, wait_for_line
from tests.screenshots.state import State
from tests.screenshots.states import furnish

FOLDER = ROOT / "screenshots"
SIZES = {1440: 900, 390: 844}
THEMES = ("light", "dark")
# The pictures of the README: what is asked of the page, and its height.
README = {"overview-running": ("", 800), "recipe": ("?row=3", 720)}
# More of a very long page says nothing new.
TALLEST = 3_000
HEAD = """<!doctype html><meta charset=utf-8><title>Screenshots</title><style>
body { font: 14px system-ui; margin: 24px; } img { border: 1px solid #ccc; margin: 4px; }
img { vertical-align: top; }</style>"""


def main() -> int:
    options = read_options()
    FOLDER.mkdir(exist_ok=True)
    call_command("migrate", verbosity=0)
    call_command("createcachetable", verbosity=0)
    found = [one for one in furnish(options.rows) if is_wanted(one, options.words)]
    with serving() as url, browsing() as browser:
        remarks = [
            remark for place in places() for remark in shoot_all(browser, url, found, *place)
        ]
        if options.readme:
            take_for_readme(browser, url, found)
    (FOLDER / "index.html").write_text(index(found))
    sys.stdout.write("".join(f"{remark}\n" for remark in remarks))
    sys.stdout.write(f"{len(found)} states: {FOLDER / 'index.html'}\n")
    return 0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description=__doc__)
    parser.add_argument("words", nargs="*", help="only states with one of these in their name")
    parser.add_argument("--rows", type=int, default=10_000, help="where there are many")
    parser.add_argument("--readme", action="store_true", help="docs/images/ anew, too")
    return parser.parse_args()


def take_for_readme(browser: Browser, url: str, states: Sequence[State]) -> None:
    context = open_context(browser, url, "mei", 1440, "light")
    for state in states:
        if state.name in README:
            page = context.new_page()
            query, height = README[state.name]
            page.goto(state.path + query)
            clip = {"x": 0, "y": 0, "width": 1440, "height": height}
            path = ROOT / "docs/images" / f"{state.name.partition('-')[0]}.png"
            page.screenshot(path=path, clip=clip, caret="initial", full_page=True)
    context.close()


def is_wanted(state: State, words: Sequence[str]) -> bool:
    return not words or any(word in state.name for word in words)


def places() -> Iterator[tuple[int, str]]:
    return ((width, theme) for width in SIZES for theme in THEMES)


@contextmanager
def serving() -> Iterator[str]:
    log = Path(os.environ["SLUICE_DATA_DIR"]) / "web.log"
    command = [sys.executable, "manage.py", "serve", "--port", "0"]
    # Nothing listens there, and nothing is sent: the pages are to say what they say with a sandbox.
    environment = {**os.environ, "SANDBOX_URL": "http://127.0.0.1:9"}
    with running(*command, log=log, environment=environment) as process:
        yield f"http://{wait_for_line(process, log, LISTENING)[1]}"


@contextmanager
def browsing() -> Iterator[Browser]:
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM))
        yield browser
        browser.close()


def shoot_all(
    browser: Browser, url: str, states: Sequence[State], width: int, theme: str
) -> Iterator[str]:
    """Everything at one width in one theme; what is wrong with it."""
    for who in sorted({state.who for state in states}):
        context = open_context(browser, url, who, width, theme)
        for state in states:
            if state.who == who and width in state.widths:
                page = context.new_page()
                yield from shoot(page, state, width, theme)
                page.close()
        context.close()


def open_context(browser: Browser, url: str, who: str, width: int, theme: str) -> BrowserContext:
    context = browser.new_context(
        base_url=url,
        viewport={"width": width, "height": SIZES[width]},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(10_000)
    if who:
        client = Client()
        client.force_login(User.objects.get(username=who))
        cookie = client.cookies["sessionid"].value
        context.add_cookies([{"name": "sessionid", "value": cookie, "url": url}])
    return context


def shoot(page: Page, state: State, width: int, theme: str) -> Iterator[str]:
    name = f"{state.name}-{width}-{theme}"
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    with state.during():
        try:
            page.goto(state.path)
            if state.do:
                state.do(page)
        except Exception as problem:
            # A picture of the page that could not be used says more than none.
            said.append(str(problem).splitlines()[0])
        page.wait_for_timeout(150)
        height = page.evaluate("document.documentElement.scrollHeight")
        if not state.do:
            size = {"width": width, "height": min(max(height, SIZES[width]), TALLEST)}
            page.set_viewport_size(size)
        # Hiding the caret would be a style that the policy forbids, and reports.
        page.screenshot(path=FOLDER / f"{name}.png", caret="initial")
    wide = page.evaluate("document.documentElement.scrollWidth")
    if wide > width:
        said.append(f"scrolls sideways: {wide}")
    yield from (f"{name}: {one}" for one in said)


def index(states: Sequence[State]) -> str:
    """All of them by state, each width and theme beside the others."""
    rows = []
    for state in states:
        pictures = "".join(
            f'<a href="{state.name}-{width}-{theme}.png">'
            f'<img src="{state.name}-{width}-{theme}.png" alt="" width="{width // 3}"></a>'
            for width, theme in places()
            if width in state.widths
        )
        rows.append(f"<h2>{state.name}</h2><p>{html.escape(state.path)} {state.who}</p>{pictures}")
    return HEAD + "".join(rows)
