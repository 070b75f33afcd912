"""Every page once, with data: axe in both themes, no sideways scroll, no style of its own."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser import Site, note
from tests.screenshots.state import State
from tests.screenshots.states import furnish

pytestmark = pytest.mark.django_db(transaction=True)
SERIOUS = {"serious", "critical"}
# What a theme changes.
COLOURS = {"runOnly": ["color-contrast"], "resultTypes": ["violations"]}
SIDEWAYS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.mark.logs_errors
def test_every_page_can_be_read_by_everybody(browser: Browser, site: Site) -> None:
    states = [state for state in furnish() if state.main]
    axe, found, complaints = Axe(), [], list[str]()
    for who in sorted({state.who for state in states}):
        context = browser.new_context(base_url=site.url, reduced_motion="reduce")
        sign_in(context, site, who)
        page = context.new_page()
        page.on("console", lambda message: note(complaints, message))
        for state in [state for state in states if state.who == who]:
            found += faults(axe, page, state)
        context.close()
    assert found == []
    assert [text for text in complaints if "status of 4" not in text] == []


def sign_in(context: BrowserContext, site: Site, who: str) -> None:
    if who:
        client = Client()
        client.force_login(User.objects.get(username=who))
        cookie = client.cookies["sessionid"].value
        context.add_cookies([{"name": "sessionid", "value": cookie, "url": site.url}])


def faults(axe: Axe, page: Page, state: State) -> list[str]:
    """What is wrong with a page, at its own width and on a phone."""
    page.set_viewport_size({"width": 1440, "height": 900})
    page.emulate_media(color_scheme="light")
    response = page.goto(state.path)
    assert response is not None
    found = [] if " style=" not in response.text() else ["has a style of its own"]
    if state.do:
        state.do(page)
    # A long name changes how wide a page is, and nothing else.
    if "long" not in state.name:
        found += violations(axe, page)
        page.emulate_media(color_scheme="dark")
        found += [f"{one}, in the dark" for one in violations(axe, page, COLOURS)]
    page.set_viewport_size({"width": 390, "height": 844})
    if page.evaluate(SIDEWAYS):
        found.append("scrolls sideways at 390")
    return [f"{state.name}: {one}" for one in found]


def violations(axe: Axe, page: Page, options: dict | None = None) -> list[str]:
    result = axe.run(page, options=options or {"resultTypes": ["violations"]})
    return [
        f"{one['id']}: {', '.join(' '.join(node['target']) for node in one['nodes'][:3])}"
        for one in result.response["violations"]
        if one["impact"] in SERIOUS
    ]
