"""A live answer in real browsers, before a real server and the sandbox."""

import os
import random
import re
import signal
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from streaming.models import Conversation, Turn
from tests.browser import LISTENING, Site
from tests.cast import Cast
from tests.processes import Sandbox, running, wait_for_line
from tests.streaming.pages import address, begin
from tests.streaming.reader import whole_text
from tests.streaming.turns import set_pace

pytestmark = pytest.mark.django_db(transaction=True)
TOOL = """[{"name": "get_weather", "input_schema": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}]"""


def test_the_text_comes_as_it_is_written_and_is_what_was_sent(
    reader, conversation: Conversation, sandbox: Sandbox, scope: str
) -> None:
    set_pace(sandbox, scope, 40)
    whole, bob, vera = whole_text(sandbox, scope), reader(), reader("vera")
    vera.page.goto(address(conversation))
    bob.ask(conversation)
    early = bob.wait_for_text(5)
    assert whole.startswith(early)
    assert early != whole
    expect(bob.page.locator("[data-facts]")).to_contain_text("first token")
    expect(bob.page.locator("#stop-button")).to_be_visible()
    # A colleague whose page was open already sees it come.
    assert whole.startswith(vera.wait_for_text())
    assert bob.wait_for_end() == whole
    assert vera.wait_for_end() == whole
    expect(bob.page.locator("#spoken")).to_contain_text("Done, ")
    expect(bob.page).to_have_title(re.compile("^Done · "))
    expect(bob.page.locator("#ask [data-primary]")).to_have_text("Send")
    expect(bob.page.locator("#id_prompt")).to_be_focused()


def test_reloaded_at_any_moment_it_is_the_same_text(
    reader, conversation: Conversation, sandbox: Sandbox, scope: str
) -> None:
    set_pace(sandbox, scope, 12)
    whole, bob, moments, reloads = whole_text(sandbox, scope), reader(), random.Random(11), 0
    while reloads < 20:
        another = Conversation.objects.create(workspace=conversation.workspace, title="Rivers")
        bob.ask(another)
        expect(bob.page.locator("article[data-live]")).to_have_count(1)
        while bob.page.locator("article[data-live]").count():
            before = bob.wait_for_text()
            bob.page.reload()
            reloads += 1
            assert whole.startswith(bob.wait_for_text(len(before)))
            bob.page.wait_for_timeout(moments.randint(0, 200))
        assert bob.wait_for_end() == whole


def test_a_lost_network_loses_no_text(
    reader, conversation: Conversation, sandbox: Sandbox, scope: str
) -> None:
    set_pace(sandbox, scope, 15)
    whole, bob = whole_text(sandbox, scope), reader()
    bob.ask(conversation)
    before = bob.wait_for_text(5)
    bob.context.set_offline(True)
    expect(bob.page.locator("[data-state]")).to_contain_text("nothing is lost")
    bob.page.wait_for_timeout(700)
    assert bob.text_so_far().startswith(before)
    bob.context.set_offline(False)
    assert bob.wait_for_end() == whole


def test_without_a_websocket_the_text_comes_by_and_by(
    reader, conversation: Conversation, sandbox: Sandbox, scope: str
) -> None:
    set_pace(sandbox, scope, 15)
    whole, bob = whole_text(sandbox, scope), reader()
    bob.page.add_init_script("delete window.WebSocket")
    bob.ask(conversation)
    expect(bob.page.locator("[data-state]")).to_contain_text("needs a websocket")
    assert whole.startswith(bob.wait_for_text())
    assert bob.wait_for_end() == whole


def test_stopped_it_keeps_what_came_and_goes_on(
    reader, conversation: Conversation, sandbox: Sandbox, scope: str
) -> None:
    set_pace(sandbox, scope, 15)
    whole, bob = whole_text(sandbox, scope), reader()
    bob.ask(conversation)
    bob.wait_for_text(5)
    bob.page.keyboard.press("Control+.")
    expect(bob.page.locator(".ending")).to_contain_text("Stopped by bob.")
    kept = bob.wait_for_end()
    assert kept
    assert whole.startswith(kept)
    set_pace(sandbox, scope, 0)
    bob.page.get_by_role("button", name="Continue").click()
    expect(bob.page.locator("#turns")).to_contain_text("Goes on with the answer above")
    assert bob.wait_for_end()
    states = [turn.state for turn in conversation.turns.order_by("number")]
    assert states == [Turn.State.STOPPED, Turn.State.DONE]


def test_a_tool_is_called_and_its_result_given(
    reader, conversation: Conversation, sandbox: Sandbox, scope: str
) -> None:
    set_pace(sandbox, scope, 60)
    bob = reader()
    bob.ask(conversation, "What is the weather in Oslo?", tools=TOOL)
    field = bob.page.get_by_label("Result of get_weather")
    expect(field).to_be_visible()
    expect(bob.page.locator("figure.block code")).to_contain_text('"city"')
    field.fill("3 degrees")
    bob.page.get_by_role("button", name="Send the result").click()
    bob.wait_for_end()
    expect(bob.page.locator("#turns > :last-child .turn-facts")).to_contain_text("end_turn")
    expect(field).to_have_count(0)


def test_thinking_that_was_opened_stays_open(
    reader, conversation: Conversation, sandbox: Sandbox, scope: str
) -> None:
    set_pace(sandbox, scope, 40)
    bob = reader()
    bob.ask(conversation, model="claude-sonnet-5")
    bob.page.locator("details.thinking summary").click()
    expect(bob.page.locator("details.thinking")).to_contain_text("tokens")
    bob.wait_for_end()
    expect(bob.page.locator("details.thinking")).to_have_attribute("open", "")


def test_what_the_api_refuses_is_said_in_words(
    reader, conversation: Conversation, sandbox: Sandbox, scope: str
) -> None:
    bob = reader()
    bob.ask(conversation, model="no-such-model")
    ending = bob.page.locator(".ending")
    expect(ending).to_contain_text("404 not_found_error")
    expect(ending).to_contain_text("Choose another model")
    bob.page.locator("#id_max_tokens").fill("none")
    bob.page.locator("#id_prompt").fill("Kept")
    bob.page.keyboard.press("Control+Enter")
    expect(bob.page.locator("#composer-said")).to_contain_text("Enter a whole number")
    expect(bob.page.locator("#id_prompt")).to_have_value("Kept")
    # Chromium says of every 422 that it is one.
    bob.complaints = [text for text in bob.complaints if "status of 422" not in text]


def test_a_killed_server_leaves_the_text_so_far(
    reader, site: Site, cast_with_key: Cast, sandbox: Sandbox, scope: str, tmp_path: Path
) -> None:
    set_pace(sandbox, scope, 12)
    conversation, whole = begin(cast_with_key), whole_text(sandbox, scope)
    command = [sys.executable, "manage.py", "serve", "--port"]
    environment = {**os.environ, "SANDBOX_URL": sandbox.url, "SLUICE_DATA_DIR": str(site.data)}
    log = tmp_path / "web.log"
    with running(*command, "0", log=log, environment=environment) as process:
        place = wait_for_line(process, log, LISTENING)[1]
        bob = reader(url=f"http://{place}")
        bob.ask(conversation)
        before = bob.wait_for_text(10)
        process.send_signal(signal.SIGKILL)
        process.wait()
    expect(bob.page.locator("[data-state]")).to_contain_text("nothing is lost")
    port = place.rpartition(":")[2]
    with running(*command, port, log=log, environment=environment) as process:
        wait_for_line(process, log, LISTENING)
        expect(bob.page.locator(".ending")).to_contain_text("the server that wrote it stopped.")
        kept = bob.page.locator("#turns .as-plain").text_content() or ""
        assert kept.startswith(before[:-20])
        assert whole.startswith(kept)
        bob.page.goto("about:blank")
