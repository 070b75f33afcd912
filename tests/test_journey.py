"""What a person does from sign-in to the last download, before real processes only."""

import csv
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Download, Page, Route, expect

from batches.models import Batch, MessageBatch
from batches.planning import Selection
from batches.starting import start
from tests.batches.stage import SandboxScope, make_batch, now
from tests.browser import Site
from tests.cast import Cast, gather
from tests.processes import ROOT, Sandbox, running, wait_until
from workspaces.models import ApiKey

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = 30_000
BROKEN = 40
SENT = 1_500
FILLER = "Schöne Grüße aus Köln, der Rückversand dauerte länger. " * 19


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """30 MB as an Excel of Western Europe writes it; one row has a cell too many."""
    path = tmp_path / "reviews-october.csv"
    with path.open("w", encoding="cp1252", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["id", "product", "review"])
        for number in range(2, ROWS + 2):
            row = [f"r-{number}", "Kettle", f"{number}: {FILLER}"]
            writer.writerow([*row, "cut off"] if number == BROKEN else row)
    assert path.stat().st_size > 30_000_000
    return path


@pytest.fixture
def team(site: Site, scope: str, sandbox: Sandbox) -> Cast:
    cast = gather()
    cast.alice.set_password("a long pass phrase")
    cast.alice.save()
    ApiKey.seal(cast.workspace, "sandbox", scope)
    return cast


@pytest.fixture
def environment(site: Site, sandbox: Sandbox) -> dict[str, str]:
    """What the commands of this journey are told."""
    return {**os.environ, "SANDBOX_URL": sandbox.url}


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[None]:
    log = tmp_path / "worker.log"
    command = [sys.executable, "manage.py", "poll_batches", "--interval", "0.1"]
    with running(*command, log=log, environment=environment) as process:
        yield
        assert process.poll() is None, f"the worker died:\n{log.read_text()}"
    assert "Traceback" not in log.read_text()


class Console:
    """What the browser complained of; what the test broke by intent is expected by its address."""

    def __init__(self, page: Page) -> None:
        self.said: list[str] = []
        self.broken: set[str] = set()
        page.on("console", self.note)
        page.on("pageerror", lambda error: self.said.append(str(error)))

    def note(self, message: ConsoleMessage) -> None:
        meant = message.location["url"] in self.broken and "ERR_FAILED" in message.text
        if not meant:
            self.said.append(f"{message.type}: {message.text}")


def test_a_table_goes_in_and_its_answers_come_out(
    browser: Browser,
    site: Site,
    team: Cast,
    reviews: Path,
    worker: None,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    context = browser.new_context(base_url=site.url, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(15_000)
    console = Console(page)
    try:
        sign_in(page)
        upload(page, reviews, console)
        leave_the_broken_row_out(page)
        write_the_recipe(page)
        send(page)
        follow_to_the_end(page)
        read_answers(page)
        take_away(page, environment, tmp_path)
        read_the_story(page)
    finally:
        context.close()
    assert console.said == []


def test_what_went_wrong_is_put_right(
    browser: Browser, site: Site, team: Cast, sandbox: Sandbox, scope: str, worker: None
) -> None:
    """The answer to a POST is lost, and then every row fails: still nothing is paid twice."""
    api = SandboxScope(sandbox.url, scope)
    api.change(batch_seconds=0.3, failure_rate=1)
    api.call("/_sandbox/faults", {"on": "create", "kind": "drop", "when": "after_effect"})
    api.call("/_sandbox/faults", {"on": "list", "kind": "lag", "seconds": 600})
    batch = make_batch(team.workspace, [f"review {number}" for number in range(40)])
    context = browser.new_context(base_url=site.url, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(15_000)
    console = Console(page)
    try:
        sign_in(page)
        start(batch, Selection(part_size=40), now(), actor=team.alice)
        page.goto(f"/w/acme/batches/{batch.pk}/")
        name_what_was_created(page, api)
        api.change(failure_rate=0)
        retry_what_was_overloaded(page, batch)
        delete_at_the_api_as_well(page, batch)
    finally:
        context.close()
    assert console.said == []
    sent = [entry["id"] for entry in api.ledger()["creates"]]
    assert len(sent) == 2
    wait_until(lambda: {entry["id"] for entry in api.ledger()["deletes"]} == set(sent))
    wait_until(lambda: not Batch.objects.filter(pk=batch.pk).exists())


def name_what_was_created(page: Page, api: SandboxScope) -> None:
    """The list does not show it yet, and whoever looks into the Console does."""
    page.get_by_role("link", name="Decide now").click(timeout=20_000)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Nothing is sent again by itself.")
    dialog.get_by_label("Id at the API").fill(api.ledger()["creates"][0]["id"])
    dialog.get_by_role("button", name="Adopt it").click()
    expect(page.locator("#head-pill")).to_contain_text("Ended", timeout=30_000)
    assert MessageBatch.objects.get().state == "stored"


def retry_what_was_overloaded(page: Page, batch: Batch) -> None:
    page.get_by_role("link", name="Problems").click()
    group = page.locator(".problem-groups > li", has_text="overloaded_error")
    number = int(group.locator("h2 .figure").inner_text())
    group.get_by_role("link", name=f"Retry {number}").click()
    button = page.get_by_role("dialog").get_by_role("button", name=f"Retry {number} row")
    expect(button).to_be_enabled()
    button.dblclick()
    # The second press takes the place of the first one's navigation.
    expect(page).to_have_url(re.compile(r"/batches/\d+/$"))
    expect(page.locator("#progress")).to_contain_text("2 of 2 parts ended", timeout=30_000)
    batch.refresh_from_db()
    assert (batch.runs.count(), batch.parts, batch.sent) == (2, 2, 40)
    page.get_by_role("link", name="Problems").click()
    expect(group).to_have_count(0)
    expect(page.locator(".problem-groups > li", has_text="max_tokens")).to_have_count(1)
    assert batch.message_batches.get(part=2).size == number


def delete_at_the_api_as_well(page: Page, batch: Batch) -> None:
    page.locator("#batch-menu summary").click()
    page.get_by_role("link", name="Delete…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Delete it at the API as well")).to_be_checked()
    dialog.get_by_label(f"Type {batch.pk} to confirm").fill(str(batch.pk))
    dialog.get_by_role("button", name="Delete the batch").click()
    page.wait_for_url("**/w/acme/batches/")
    expect(page.locator("#toast")).to_contain_text(f"(#{batch.pk}) is deleted.")


def sign_in(page: Page) -> None:
    page.goto("/")
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill("a long pass phrase")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/w/acme/")
    expect(page.get_by_text("Sandbox: answers are made up")).to_be_visible()
    page.keyboard.press("n")
    page.wait_for_url("**/batches/new/")


def upload(page: Page, file: Path, console: Console) -> None:
    """The second piece is lost on its way; the file goes on where it stopped."""
    offsets: list[int] = []

    def lose_the_second(route: Route) -> None:
        if route.request.method == "PUT":
            offsets.append(int(route.request.headers["upload-offset"]))
            if len(offsets) == 2:
                console.broken.add(route.request.url)
                route.abort()
                return
        route.continue_()

    page.route("**/uploads/*/", lose_the_second)
    page.locator("input[type=file]").set_input_files(file)
    expect(page.locator("[data-lost]")).to_contain_text("Connection lost at 8.4 MB.")
    expect(page.get_by_text("First row is the header")).to_be_visible(timeout=30_000)
    page.unroute("**/uploads/*/")
    piece = 8 << 20
    assert offsets == [0, piece, piece, 2 * piece, 3 * piece]


def leave_the_broken_row_out(page: Page) -> None:
    expect(page.locator("main")).to_contain_text("In Windows-1252 it reads Schöne")
    page.get_by_role("button", name="Read the file as Windows-1252").click()
    expect(page.locator("form.facts")).to_contain_text("30,000 rows", timeout=30_000)
    expect(page.get_by_label("Encoding")).to_have_value("cp1252")
    expect(page.get_by_label("Delimiter")).to_have_value(";")
    expect(page.get_by_role("heading", name="1 row cannot be sent")).to_be_visible()
    expect(page.locator(".problem-table")).to_contain_text("cut off")
    on = page.get_by_role("button", name="Continue to the recipe")
    expect(on).to_have_attribute("aria-disabled", "true")
    page.get_by_label("Leave this row out and send 29,999").check()
    expect(on).not_to_have_attribute("aria-disabled", "true")
    on.click()
    page.wait_for_url("**/recipe/")


def write_the_recipe(page: Page) -> None:
    preview = page.locator("#preview")
    expect(preview).to_contain_text("Write a prompt.")
    model = page.get_by_label("Model", exact=True)
    model.select_option(model.locator("option", has_text="Haiku 4.5").get_attribute("value"))
    prompt = page.get_by_label("Prompt", exact=True)
    prompt.fill("Is this positive? {{reveiw}}")
    expect(page.locator("#errors-prompt")).to_contain_text("no such column. Did you mean review?")
    prompt.fill("Is this positive? ")
    page.get_by_role("button", name="review", exact=True).click()
    expect(prompt).to_have_value("Is this positive? {{review}}")
    expect(prompt).to_be_focused()
    expect(preview.locator("mark")).to_contain_text("2: Schöne Grüße aus Köln")
    preview.get_by_label("Row", exact=True).fill("1207")
    page.keyboard.press("Enter")
    expect(preview.locator("mark")).to_contain_text("1207: Schöne Grüße")
    page.get_by_label("Identify rows by").select_option("id")
    page.get_by_label("Max tokens").fill("300")
    expect(page.locator("#saved")).to_contain_text("Saved")
    page.get_by_role("button", name="Continue to review").click()
    page.wait_for_url("**/review/")


def send(page: Page) -> None:
    page.get_by_label("Name").fill("Review themes")
    page.get_by_label("How many of the first rows").fill(str(SENT))
    button = page.locator("button.send")
    expect(button).to_have_text(f"Send {SENT:,} requests")
    page.get_by_label("Parts").select_option(label="5 parts of 300")
    expect(page.locator(".review-cost")).to_contain_text("Nothing is billed")
    expect(button).to_be_enabled(timeout=30_000)
    page.get_by_label("Leave 1 row out").check()
    button.dblclick()
    page.wait_for_url(re.compile(r"/batches/\d+/$"))
    assert Batch.objects.get().runs.count() == 1


def follow_to_the_end(page: Page) -> None:
    """Without a reload: the page is the same one from beginning to end."""
    page.evaluate("window.opened = true")
    expect(page.locator("#progress")).to_contain_text("of 5 parts ended")
    expect(page.locator("#toast")).to_contain_text("Review themes has ended:", timeout=30_000)
    expect(page).to_have_title("Ended · Review themes · Sluice")
    expect(page.locator("#head-pill")).to_contain_text("Ended")
    expect(page.locator("#progress")).to_contain_text("5 of 5 parts ended")
    assert page.evaluate("window.opened")


def read_answers(page: Page) -> None:
    page.get_by_role("navigation", name="Batch #").get_by_role("link", name="Results").click()
    page.get_by_role("link", name="Succeeded 1,500").click()
    page.wait_for_url("**?type=succeeded")
    drawer, heading = page.locator("#drawer"), page.locator("#drawer #row-title")
    page.get_by_role("link", name="12", exact=True).click()
    expect(heading).to_have_text("Row 12")
    expect(drawer).to_contain_text("Grüße aus Köln")
    page.keyboard.press("j")
    expect(heading).to_have_text("Row 13")
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    page.keyboard.press("/")
    page.keyboard.type("r-777")
    page.keyboard.press("Enter")
    expect(page.locator("table.answers tbody tr")).to_have_count(1)
    expect(page.locator("table.answers")).to_contain_text("r-777")


def take_away(page: Page, environment: dict[str, str], tmp_path: Path) -> None:
    """What the browser saves is what the shell writes, byte for byte."""
    page.get_by_role("link", name="Overview").click()
    batch = Batch.objects.get()
    for ending, options in ((".csv", ["--bom"]), (".jsonl", [])):
        page.get_by_role("link", name="Download results").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("radio", name=ending[1:].upper()).check()
        with page.expect_download() as saving:
            dialog.get_by_role("button", name="Download").click()
        expect(dialog).to_be_hidden()
        content = saved_content(saving.value, f"review-themes-{batch.pk}{ending}")
        assert content == export_in_shell(batch, tmp_path / f"shell{ending}", options, environment)
        if ending == ".csv":
            check_lines(content)


def saved_content(saved: Download, name: str) -> bytes:
    assert saved.suggested_filename == name
    return Path(saved.path()).read_bytes()


def export_in_shell(
    batch: Batch, file: Path, options: list[str], environment: dict[str, str]
) -> bytes:
    command = [sys.executable, "manage.py", "export_batch", str(batch.pk), str(file), *options]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    return file.read_bytes()


def check_lines(content: bytes) -> None:
    lines = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert len(lines) == ROWS
    assert [line["id"] for line in lines[:2]] == ["r-2", "r-3"]
    assert "cut off" in lines[BROKEN - 2]["error"]


def read_the_story(page: Page) -> None:
    page.get_by_role("link", name="Activity").click()
    story = page.locator("main")
    for sentence in ("alice pressed Send 1,500 requests", "All 298 answers of part 5 are here"):
        expect(story).to_contain_text(sentence)
