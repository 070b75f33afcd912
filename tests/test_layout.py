import pytest
from playwright.sync_api import Page, expect

from batches.models import Batch
from tests.browser import Site
from tests.screenshots.elsewhere import list_some
from tests.screenshots.making import (
    end_part,
    make_draft,
    move_in,
    place,
    running,
    send,
    table_of,
)
from tests.screenshots.troubles import decision, incomplete, unknown
from tests.test_accessibility import sign_in
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db(transaction=True)

# Sums what moved without anybody's doing, since the page began.
SHIFT = """() => new Promise((resolve) => {
  let sum = 0;
  new PerformanceObserver((list) => {
    for (const one of list.getEntries()) if (!one.hadRecentInput) sum += one.value;
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => resolve(sum), 300);
})"""
# What can be pressed and is not reached through something else, such as a radio's group.
REACHABLE = """() => {
  const shown = (one) => one.checkVisibility({ visibilityProperty: true }) && !one.disabled;
  const all = document.querySelectorAll("a[href], button, input, select, textarea, summary");
  const wanted = [...all].filter((one) => shown(one) && one.tabIndex >= 0 && one.type !== "hidden");
  wanted.forEach((one, index) => { one.dataset.wanted = index; });
  return wanted.filter((one) => one.type !== "radio").map((one) => one.dataset.wanted);
}"""
FOCUSED = """() => {
  const one = document.activeElement;
  const drawn = [one, one.closest("label, td, .drop"), one.closest("tr")];
  const ring = (node) => node && getComputedStyle(node).outlineStyle !== "none"
    && parseFloat(getComputedStyle(node).outlineWidth) > 0;
  const name = one.outerHTML?.slice(0, 120);
  return { wanted: one.dataset?.wanted, ring: drawn.some(ring), name };
}"""


@pytest.fixture
def team(site: Site) -> Workspace:
    return move_in().workspace("team", "Reviews team", api="claude")


@pytest.fixture
def mei(page: Page, site: Site, team: Workspace) -> Page:
    sign_in(page.context, site, "mei")
    return page


def money_pages(team: Workspace, batch: Batch) -> tuple[str, ...]:
    """Where a person decides what is paid, waited for or given up; and the list to adopt from."""
    list_some(team)
    short = incomplete(team, "Three answers are missing")
    part = place(short.batch, f"parts/{short.pk}/")
    retry = f"{place(batch, 'retry/')}?type=errored"
    return (decision(unknown(team, "Not known")), part, f"{part}stop/", retry, "/w/team/adopt/")


def test_nothing_moves_while_a_batch_runs(mei: Page, team: Workspace) -> None:
    page = mei
    batch = make_draft(team, table_of(30), "Review themes")
    parts = send(batch, [5] * 6)
    end_part(parts[0])
    page.goto(place(batch))
    expect(page.locator("#progress")).to_contain_text("1 of 6 parts ended")
    for number, part in enumerate(parts[1:], 2):
        end_part(part)
        if number in (2, 6):
            expect(page.locator("#progress")).to_contain_text(f"{number} of 6 parts ended")
    expect(page).to_have_title("Done · Review themes · Sluice")
    assert page.evaluate(SHIFT) < 0.01


def test_every_action_is_reached_by_the_keyboard(mei: Page, team: Workspace) -> None:
    draft = make_draft(team, table_of(3), "Cities")
    batch = running(team, "Review themes", ended=2, of=3)
    pages = ("/w/team/", "/w/team/batches/", "/w/team/batches/new/", place(draft, "recipe/"))
    sent = (place(batch), place(batch, "results/"), place(batch, "problems/"))
    for path in (*pages, place(draft, "review/"), *sent, *money_pages(team, batch)):
        mei.goto(path)
        wanted = set(mei.evaluate(REACHABLE))
        assert len(wanted) > 8, path
        reached: set[str] = set()
        for _ in range(len(wanted) + 40):
            mei.keyboard.press("Tab")
            found = mei.evaluate(FOCUSED)
            if found["wanted"] is not None:
                assert found["ring"], f"{path}: no ring around {found['name']}"
                reached.add(found["wanted"])
            if wanted <= reached:
                break
        missed = [mei.locator(f"[data-wanted='{one}']").first for one in wanted - reached]
        names = [one.evaluate("one => one.outerHTML.slice(0, 200)") for one in missed]
        assert names == [], path


def test_a_dialog_gives_the_focus_back(mei: Page, team: Workspace) -> None:
    batch = running(team, "Review themes", ended=3, of=3)
    part, short = unknown(team, "Not known"), incomplete(team, "Three answers are missing")
    questions = (
        (place(part.batch), f"#decide-{part.pk}", "Was part 1 created?"),
        (place(batch, "problems/"), "a.button[href*='/retry/']", "Retry 1 row?"),
        (place(short.batch, f"parts/{short.pk}/"), "a[href$='/stop/']", "Stop waiting for"),
    )
    for path, link, question in questions:
        mei.goto(path)
        mei.locator(link).first.focus()
        mei.keyboard.press("Enter")
        dialog = mei.get_by_role("dialog")
        expect(dialog.get_by_role("heading", level=2)).to_contain_text(question)
        assert mei.evaluate("document.querySelector('#dialog').contains(document.activeElement)")
        # Nothing that costs or deletes is pressed by the next Enter.
        held = mei.evaluate("document.activeElement.className")
        assert "primary" not in held
        assert "danger" not in held
        mei.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(mei.locator(link).first).to_be_focused()


def test_the_skip_link_leads_past_the_sidebar(mei: Page, team: Workspace) -> None:
    mei.goto("/w/team/batches/")
    mei.keyboard.press("Tab")
    link = mei.get_by_role("link", name="Skip to the content")
    expect(link).to_be_focused()
    expect(link).to_be_in_viewport()
    mei.keyboard.press("Enter")
    expect(mei.locator("main")).to_be_focused()
    mei.keyboard.press("Tab")
    assert mei.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_windows_of_middling_width_have_room_for_a_name_and_scroll_down_only(
    mei: Page, team: Workspace
) -> None:
    draft = make_draft(team, table_of(3), "Cities")
    batch = running(team, "Review themes", ended=2, of=3)
    pages = ("/w/team/", "/w/team/batches/", place(draft, "file/"), place(draft, "review/"))
    asked = money_pages(team, batch)
    for width in (720, 960, 1100, 1180, 1300, 1400):
        mei.set_viewport_size({"width": width, "height": 700})
        # Their tables are narrowest there: beside icons, and beside the whole sidebar.
        also = asked if width in (720, 1180) else ()
        for path in (*pages, place(draft, "recipe/"), place(batch), *also):
            mei.goto(path)
            wide = mei.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{path} is {wide} wide at {width}"
        mei.goto("/w/team/batches/")
        name = mei.locator("td.name").first.bounding_box()
        assert name is not None
        assert name["width"] >= 150, f"{name['width']} at {width}"


@pytest.mark.parametrize("width", [1440, 390])
def test_the_line_below_the_tabs_ends_with_the_content(
    mei: Page, team: Workspace, width: int
) -> None:
    mei.set_viewport_size({"width": width, "height": 800})
    mei.goto(place(running(team, "Review themes", ended=2, of=3)))
    tabs, section = (mei.locator(one).bounding_box() for one in (".tabs", "#parts"))
    assert tabs is not None
    assert section is not None
    assert (tabs["x"], tabs["width"]) == (section["x"], section["width"])


def test_a_button_without_words_shows_that_it_copied(mei: Page, team: Workspace) -> None:
    mei.context.grant_permissions(["clipboard-read", "clipboard-write"])
    mei.goto(place(running(team, "Review themes", ended=2, of=3)))
    button = mei.locator("[data-copy]").first
    copy, check = button.locator(".icon").first, button.locator(".icon").last
    expect(button).to_have_accessible_name("Copy the id of part 1")
    expect(check).to_be_hidden()
    button.click()
    expect(copy).to_be_hidden()
    expect(check).to_be_visible()
    expect(button).to_have_accessible_name("Copied")
    expect(button).to_have_attribute("title", "Copied")
    # Pressed once more, the name it goes back to is still its own.
    button.click()
    shown = mei.locator(f"#{button.get_attribute('data-copy')}").text_content()
    assert mei.evaluate("navigator.clipboard.readText()") == shown
    expect(copy).to_be_visible()
    expect(button).to_have_accessible_name("Copy the id of part 1")


def test_a_button_with_words_keeps_its_icon_when_it_copied(mei: Page, team: Workspace) -> None:
    mei.context.grant_permissions(["clipboard-read", "clipboard-write"])
    mei.goto("/w/team/settings/members/")
    button = mei.locator("[data-copy]")
    button.click()
    expect(button).to_have_text("Copied")
    # At once: what waits would see the icon that comes back.
    assert button.locator(".icon").is_visible()


def test_the_list_of_keys_is_opened_by_the_mouse(mei: Page, team: Workspace) -> None:
    for width in (1440, 390):
        mei.set_viewport_size({"width": width, "height": 800})
        mei.goto("/w/team/")
        if width == 390:
            mei.get_by_role("button", name="Menu").click()
        mei.locator(".user summary").click()
        mei.get_by_role("button", name="Keys", exact=True).click()
        expect(mei.get_by_role("dialog", name="Keys")).to_be_visible()
        mei.get_by_role("button", name="Close").click()
        expect(mei.get_by_role("dialog", name="Keys")).to_be_hidden()
