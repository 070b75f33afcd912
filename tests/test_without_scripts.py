"""A browser that runs no scripts: signing in, a small file, one run, reading, taking away."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django import Settings

from batches.models import Batch, MessageBatch, Run
from batches.worker import turn
from tests.browser import Site, note
from tests.cast import Cast, gather
from tests.processes import Sandbox, wait_until
from tests.screenshots import making
from tests.screenshots.elsewhere import list_some
from tests.screenshots.troubles import incomplete, unknown
from tests.test_accessibility import sign_in as sign_in_at_once
from tests.workspaces.test_pages_in_browser import sign_in
from workspaces.models import ApiKey, Workspace

pytestmark = pytest.mark.django_db(transaction=True)
TABLE = "id;review\na;Schön warm\nb;broken;by a cell\nc;好\nd;fine\n"


@pytest.fixture
def bare_page(browser: Browser, site: Site) -> Iterator[Page]:
    complaints: list[str] = []
    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("console", lambda message: note(complaints, message))
    yield page
    context.close()
    assert [text for text in complaints if "status of 422" not in text] == []


@pytest.fixture
def team(site: Site, settings: Settings, sandbox: Sandbox, scope: str) -> Cast:
    settings.SANDBOX_URL = sandbox.url
    cast = gather()
    ApiKey.seal(cast.workspace, "sandbox", scope)
    return cast


@pytest.fixture
def house(bare_page: Page, site: Site) -> Workspace:
    """A workspace of Mei's, who is signed in."""
    workspace = making.move_in().workspace("team", "Reviews team", api="claude")
    sign_in_at_once(bare_page.context, site, "mei")
    return workspace


def work() -> None:
    """Turns of a worker until nothing is due right now."""
    while turn():
        pass


def test_a_table_is_sent_and_read(bare_page: Page, team: Cast, tmp_path: Path) -> None:
    page = bare_page
    file = tmp_path / "reviews.csv"
    file.write_text(TABLE)
    sign_in(page, team.bob)
    page.wait_for_url("**/w/acme/")

    page.get_by_role("link", name="Upload a file").click()
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url("**/file/")
    work()
    page.get_by_role("link", name="Look again").click()
    expect(page.get_by_role("heading", name="1 row cannot be sent")).to_be_visible()
    page.get_by_label("Leave this row out and send 3").check()
    # It says that it waits for the choice, which is sent along with it.
    go_on = page.get_by_role("button", name="Continue to the recipe")
    expect(go_on).to_have_css("cursor", "pointer")
    go_on.click(force=True)
    page.wait_for_url("**/recipe/")

    model = page.get_by_label("Model", exact=True)
    model.select_option(model.locator("option", has_text="Haiku 4.5").get_attribute("value"))
    page.get_by_label("Prompt", exact=True).fill("Is this positive? {{review}}")
    page.get_by_label("Max tokens").fill("60")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#preview")).to_contain_text("Schön warm")
    page.get_by_role("button", name="Continue to review").click()
    page.wait_for_url("**/review/")
    work()
    page.reload()
    page.get_by_label("Leave 1 row out").check()
    page.get_by_role("button", name="Send 3 requests").click()
    page.wait_for_url(re.compile(r"/batches/\d+/$"))

    def ended() -> bool:
        work()
        return Batch.objects.get().state == Batch.State.ENDED

    wait_until(ended)
    page.reload()
    expect(page.locator("#head-pill")).to_contain_text("Ended")
    page.get_by_role("navigation", name="Batch #").get_by_role("link", name="Results").click()
    expect(page.locator("table.answers tbody tr")).to_have_count(3)
    page.get_by_role("link", name="4", exact=True).click()
    expect(page.get_by_role("heading", name="Row 4")).to_be_visible()
    expect(page.locator("main")).to_contain_text("好")
    page.get_by_role("link", name="Problems").click()
    expect(page.locator("main")).to_contain_text("Left out")

    page.get_by_role("link", name="Download results").click()
    with page.expect_download() as saving:
        page.get_by_role("button", name="Download").click()
    text = Path(saving.value.path()).read_text("utf-8-sig")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["id"] for line in lines] == ["a", "b", "c", "d"]
    assert "3 cells" in lines[1]["error"]


def test_a_part_without_an_outcome_is_decided_about(bare_page: Page, house: Workspace) -> None:
    page, part = bare_page, unknown(house, "Review themes")
    page.goto(making.place(part.batch))
    page.locator(f"#decide-{part.pk}").click()
    page.wait_for_url("**/decide/")
    page.get_by_label("Type 5 to confirm").fill("7")
    again = page.get_by_role("button", name="Send part 1 again")
    again.click()
    expect(page.locator("main")).to_contain_text("Type 5 to send it again.")
    page.get_by_label("Type 5 to confirm").fill("5")
    again.click()
    page.wait_for_url(re.compile(r"/batches/\d+/$"))
    expect(page.locator("body")).to_contain_text("Part 1 is sent again as a new one.")
    assert Run.objects.get(state="queued").selection == {"kind": "part", "part": part.pk}


def test_rows_are_retried(bare_page: Page, house: Workspace) -> None:
    page, batch = bare_page, making.running(house, "Review themes", ended=3, of=3)
    page.goto(making.place(batch, "results/"))
    page.get_by_role("checkbox", name="Select row 9").check()
    page.get_by_role("button", name="Retry…").click()
    expect(page.get_by_role("heading", name="Retry 1 row?")).to_be_visible()
    page.get_by_label("Max tokens").fill("no number")
    page.get_by_role("button", name="Work it out again").click()
    expect(page.locator("main")).to_contain_text("no number is not a whole number.")
    page.get_by_label("Max tokens").fill("1,200")
    page.get_by_role("button", name="Work it out again").click()
    page.get_by_role("button", name="Retry 1 row").click()
    page.wait_for_url(re.compile(r"/batches/\d+/$"))
    run = Run.objects.get(state="queued")
    assert (run.selection["rows"], run.recipe["max_tokens"]) == ([9], 1_200)


def test_answers_are_given_up_and_a_batch_is_deleted(bare_page: Page, house: Workspace) -> None:
    page, part = bare_page, incomplete(house, "Review themes")
    page.goto(making.place(part.batch, f"parts/{part.pk}/"))
    page.get_by_role("link", name="Stop waiting").click()
    page.get_by_label("Type 3 to confirm").fill("3")
    page.get_by_role("button", name="Stop waiting").click()
    expect(page.locator("body")).to_contain_text("3 answers of part 2 will be missing.")
    page.locator("#batch-menu summary").click()
    page.get_by_role("link", name="Delete…").click()
    page.get_by_label("Delete it at the API as well").uncheck()
    page.get_by_label("Type 3 to give these answers up").fill("3")
    page.get_by_role("button", name="Delete the batch").click()
    page.wait_for_url("**/batches/")
    expect(page.locator("body")).to_contain_text("is deleted.")
    batch = Batch.objects.get()
    assert (batch.deleting_at is None, batch.delete_remote) == (False, False)


def test_a_batch_made_elsewhere_is_adopted(bare_page: Page, house: Workspace) -> None:
    list_some(house)
    page = bare_page
    page.goto("/w/team/batches/")
    page.get_by_role("link", name="made elsewhere").click()
    page.get_by_role("checkbox", name="msgbatch_01Nightly").check()
    page.get_by_role("button", name="Adopt what is checked").click()
    page.wait_for_url(re.compile(r"/batches/\d+/$"))
    expect(page.locator("main")).to_contain_text("Made elsewhere and adopted")
    assert MessageBatch.objects.get(run=None).size == 98_765
