"""A live answer in real browsers where something on the way is not as it should be."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from streaming.models import Conversation, Turn
from tests.browser import Site
from tests.cast import Cast
from tests.processes import Sandbox, wait_until
from tests.streaming.pages import address
from tests.streaming.reader import MODEL, PROMPT, Reader, whole_text
from tests.streaming.turns import set_pace
from tests.workspaces.test_pages_in_browser import sign_in

pytestmark = pytest.mark.django_db(transaction=True)


def change_one_letter(page: Page) -> list[str]:
    """One frame with text comes with another letter of the same length; tells which."""
    changed: list[str] = []

    def pass_on(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def tamper(message: Any) -> None:
            frame = json.loads(message)
            for event in frame.get("events", []):
                text = event.get("delta", {}).get("text", "")
                if text and not changed:
                    event["delta"]["text"] = ("X" if text[0] != "X" else "Y") + text[1:]
                    changed.append(text)
            socket.send(json.dumps(frame))

        server.on_message(tamper)

    page.route_web_socket(re.compile("/live/"), pass_on)
    return changed


def test_text_that_came_otherwise_is_mended_at_the_end(
    reader, conversation: Conversation, sandbox: Sandbox, scope: str
) -> None:
    set_pace(sandbox, scope, 60)
    whole, bob = whole_text(sandbox, scope), reader()
    changed = change_one_letter(bob.page)
    bob.ask(conversation)
    assert bob.wait_for_end() == whole
    assert changed
    # The page has noticed by the digest; the length was the same.
    [said] = [text for text in bob.complaints if "differs" in text]
    assert f"{len(whole)} of {len(whole)}" in said
    bob.complaints.remove(said)


def test_who_has_scrolled_up_is_told_of_new_text_and_led_to_it(
    reader, conversation: Conversation, sandbox: Sandbox, scope: str
) -> None:
    set_pace(sandbox, scope, 60)
    bob: Reader = reader()
    bob.page.set_viewport_size({"width": 1200, "height": 360})
    bob.ask(conversation)
    bob.wait_for_text(5)
    pill = bob.page.locator("#new-text")
    expect(pill).to_be_hidden()
    bob.page.evaluate("scrollTo(0, 0)")
    expect(pill).to_be_visible()
    assert bob.page.evaluate("scrollY") == 0
    pill.click()
    expect(pill).to_be_hidden()
    wait_until(
        lambda: bob.page.evaluate("innerHeight + scrollY >= document.body.scrollHeight - 48")
    )
    bob.wait_for_end()


def test_a_busy_api_is_said_with_the_time_to_wait(
    reader, conversation: Conversation, sandbox: Sandbox, scope: str
) -> None:
    whole, bob = whole_text(sandbox, scope), reader()
    sandbox.fault(scope, "messages", "status", code=429, retry_after=3)
    bob.ask(conversation)
    expect(bob.page.locator("[data-state]")).to_have_text(
        re.compile(r"Busy \(429\)\. Trying again in [123] s")
    )
    assert bob.wait_for_end() == whole


def test_without_scripts_a_conversation_is_asked_read_and_stopped(
    browser: Browser, site: Site, cast_with_key: Cast, sandbox: Sandbox, scope: str
) -> None:
    set_pace(sandbox, scope, 15)
    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    page = context.new_page()
    page.set_default_timeout(10_000)
    sign_in(page, cast_with_key.bob)
    page.wait_for_url("**/w/acme/")
    page.goto("/w/acme/conversations/new/")
    page.locator("#id_model").fill(MODEL)
    page.locator("#id_prompt").fill(PROMPT)
    page.locator("#ask [data-primary], form [data-primary]").first.click()
    page.get_by_role("link", name="Refresh").click()
    page.get_by_role("button", name="Stop").click()
    turn = Turn.objects.get()
    wait_until(lambda: not Turn.objects.live().exists())
    page.goto(address(turn.conversation))
    expect(page.locator(".ending")).to_contain_text("Stopped by bob.")
    set_pace(sandbox, scope, 0)
    page.locator("#id_prompt").fill("And three lakes?")
    page.locator("#ask [data-primary]").click()
    wait_until(lambda: not Turn.objects.live().exists())
    page.reload()
    expect(page.locator("#turns > *")).to_have_count(2)
    expect(page.locator("#turns > :last-child .turn-facts")).to_contain_text("end_turn")
    context.close()
