import re

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from tests.batches.answers import BUSY, CUT, answered
from tests.batches.build import make_workspace, succeeded
from workspaces.models import ApiKey, Membership

pytestmark = pytest.mark.django_db


def sign_in(page: Page) -> None:
    User.objects.create_user("mei", password="a long pass phrase")
    workspace, mei = make_workspace(), User.objects.get()
    Membership.objects.create(workspace=workspace, user=mei, role=Membership.Role.MEMBER)
    page.goto("/accounts/login/")
    page.locator("input[name=login]").fill("mei")
    page.locator("input[name=password]").fill("a long pass phrase")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/w/team/")


def test_rows_are_read_one_after_another_in_the_drawer(page: Page) -> None:
    sign_in(page)
    answers = {row: succeeded(f"answer {row}") if row % 2 else BUSY for row in range(2, 12)}
    batch = answered(answers)
    results = f"/w/team/batches/{batch.pk}/results/"
    drawer, heading = page.locator("#drawer"), page.locator("#drawer #row-title")

    page.goto(results)
    page.get_by_role("link", name="Succeeded 5").click()
    page.wait_for_url(f"**{results}?type=succeeded")
    page.get_by_text("answer 5").click(force=True)  # the link covers the row
    expect(heading).to_have_text("Row 5")
    expect(page).to_have_url(re.compile(f"{results}5/.type=succeeded$"))

    page.keyboard.press("j")
    expect(heading).to_have_text("Row 7")
    page.keyboard.press("k")
    expect(heading).to_have_text("Row 5")
    drawer.get_by_role("link", name="Next row").click()
    expect(heading).to_have_text("Row 7")
    expect(page.locator("tr[aria-selected] td.row")).to_have_text("7")
    expect(page).to_have_url(re.compile(f"{results}7/.type=succeeded$"))
    drawer.get_by_role("link", name="Plain").click()
    expect(drawer.locator("pre.plain")).to_have_text("answer 7")

    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(page).to_have_url(re.compile(f"{results}.type=succeeded$"))
    expect(page.locator("tr", has_text="answer 7").locator("a")).to_be_focused()

    page.keyboard.press("Enter")
    expect(heading).to_have_text("Row 7")
    page.reload()
    expect(page.get_by_role("heading", name="Row 7")).to_be_visible()
    expect(drawer).to_be_hidden()
    expect(page.locator("main")).to_contain_text("answer 7")

    page.set_viewport_size({"width": 1000, "height": 800})
    page.goto(results)
    page.get_by_text("answer 9").click(force=True)
    page.wait_for_url(f"**{results}9/")
    expect(page.locator("main #row-title")).to_have_text("Row 9")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1000


def test_a_row_opened_among_the_problems_leads_back_to_them(page: Page) -> None:
    sign_in(page)
    batch = answered({2: succeeded("fine"), 3: BUSY, 4: BUSY})
    problems = f"/w/team/batches/{batch.pk}/problems/"
    page.goto(problems)
    page.get_by_role("link", name="Row 3").click()
    expect(page.locator("#drawer #row-title")).to_have_text("Row 3")
    page.locator("#drawer").get_by_role("link", name="Next row").click()
    expect(page.locator("#drawer #row-title")).to_have_text("Row 4")
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile(f"{problems}$"))
    expect(page.get_by_role("link", name="Row 3")).to_be_focused()

    page.keyboard.press("Enter")
    expect(page.locator("#drawer #row-title")).to_have_text("Row 3")
    page.reload()
    page.get_by_role("link", name="‹ Problems").click()
    page.wait_for_url(f"**{problems}")


def test_rows_that_are_checked_are_retried_with_more_tokens(page: Page) -> None:
    sign_in(page)
    ApiKey.seal(make_workspace(), "sandbox", "sk-ant-never-asked")
    batch = answered({2: succeeded("fine"), 3: BUSY, 4: CUT})
    page.goto(f"/w/team/batches/{batch.pk}/results/")
    bar, dialog = page.locator("#selection"), page.locator("#dialog")
    expect(bar).to_be_hidden()
    page.get_by_role("checkbox", name="Select these 3").check()
    expect(bar).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(bar).to_be_hidden()
    for row in ("Select row 2", "Select row 4"):
        page.get_by_role("checkbox", name=row).check()
    page.get_by_role("button", name="Retry…").click()
    expect(dialog.get_by_role("heading")).to_have_text("Retry 1 row?")
    expect(dialog).to_contain_text("1 row stays as it is: it succeeded")
    dialog.get_by_label("Max tokens").fill("1024")
    expect(dialog.get_by_role("heading")).to_have_text("Nothing here can be retried as it is")
    dialog.get_by_label("Max tokens").fill("2048")
    expect(dialog.get_by_role("heading")).to_have_text("Retry 1 row?")
    dialog.get_by_role("button", name="Retry 1 row, nothing is billed").click()
    page.wait_for_url(f"**/w/team/batches/{batch.pk}/")
    assert batch.runs.get(state="queued").recipe["max_tokens"] == 2_048
