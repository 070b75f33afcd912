"""Somebody who reads a live answer in a browser of his own."""

import re
from typing import Any

from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, expect

from streaming.models import Conversation
from tests.browser import note
from tests.processes import Sandbox, wait_until
from tests.streaming.pages import address
from tests.streaming.turns import ask_whole

PROMPT = "Name three rivers of Europe, and say something of each of them. 長江也是。"
MODEL = "claude-haiku-4-5"
# What Chromium says of a network that is away, on purpose here.
AWAY = re.compile(
    r"ERR_INTERNET_DISCONNECTED|ERR_CONNECTION_REFUSED|WebSocket connection to|^htmx:"
)


class Reader:
    """What his console says is kept, but for a network that is away."""

    def __init__(self, browser: Browser, url: str, user: Any) -> None:
        client = Client()
        client.force_login(user)
        self.context: BrowserContext = browser.new_context(base_url=url)
        cookie = client.cookies["sessionid"].value
        self.context.add_cookies([{"name": "sessionid", "value": cookie, "url": url}])
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.complaints: list[str] = []
        self.page.on("console", self.hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def hear(self, message: Any) -> None:
        if not AWAY.search(message.text):
            note(self.complaints, message)
        if "differs" in message.text:
            self.complaints.append(message.text)

    def ask(self, conversation: Conversation, prompt: str = PROMPT, **settings: str) -> None:
        self.page.goto(address(conversation))
        if "tools" in settings:
            self.page.locator("#more-settings summary").click()
        for name, value in {"model": MODEL, **settings}.items():
            self.page.locator(f"#id_{name}").fill(value)
        self.page.locator("#id_prompt").fill(prompt)
        self.page.keyboard.press("Control+Enter")

    def text_so_far(self) -> str:
        """The text of the last turn, without waiting for it."""
        script = "document.querySelector('#turns > :last-child .blocks .verbatim')?.textContent"
        return self.page.evaluate(script) or ""

    def wait_for_text(self, length: int = 1) -> str:
        wait_until(lambda: len(self.text_so_far()) >= length)
        return self.text_so_far()

    def wait_for_end(self) -> str:
        """The whole text, as it was written."""
        expect(self.page.locator("article[data-live]")).to_have_count(0, timeout=20_000)
        expect(self.page.locator("#turns > :last-child .turn-actions")).to_be_visible()
        return self.page.locator("#turns > :last-child .as-plain").first.text_content() or ""


def whole_text(sandbox: Sandbox, scope: str, prompt: str = PROMPT) -> str:
    messages = [{"role": "user", "content": prompt}]
    request = {"model": MODEL, "max_tokens": 4096, "messages": messages}
    return "".join(block["text"] for block in ask_whole(sandbox, scope, request)["content"])
