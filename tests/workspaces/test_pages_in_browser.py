"""The pages in a real browser: nothing breaks the policy, nothing scrolls sideways."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page

from batches.models import Batch
from tests.cast import gather

PASSWORD = "long and winding road"
PAGES = (
    "/w/acme/",
    "/accounts/email/",
    "/accounts/password/change/",
    "/accounts/2fa/",
    "/accounts/logout/",
)
ADMIN_PAGES = ("/admin/", "/admin/workspaces/membership/", "/admin/batches/batch/")


def sign_in(page: Page, user: User) -> None:
    user.set_password(PASSWORD)
    user.save()
    page.goto("/accounts/login/")
    page.get_by_label("Username or e-mail").fill(user.username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def scrolls_sideways(page: Page) -> bool:
    script = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    return bool(page.evaluate(script))


@pytest.mark.parametrize("width", [1440, 900, 390])
def test_the_pages_fit(page: Page, width: int) -> None:
    cast = gather()
    name = "A name that is much longer than any screen is wide " * 3
    Batch.objects.create(workspace=cast.workspace, name=name, state="in_progress", parts=3)
    page.set_viewport_size({"width": width, "height": 800})
    sign_in(page, cast.alice)
    page.wait_for_url("**/w/acme/")
    for place in PAGES:
        page.goto(place)
        assert not scrolls_sideways(page), place


def test_a_second_factor_shows_its_code(page: Page) -> None:
    sign_in(page, gather().alice)
    page.wait_for_url("**/w/acme/")
    page.goto("/accounts/2fa/totp/activate/")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    drawn = page.locator("img.qr").evaluate(
        "image => image.decode().then(() => image.naturalWidth)"
    )
    assert drawn > 0


def test_the_menu_opens_on_a_phone_and_the_theme_stays(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    sign_in(page, gather().alice)
    page.wait_for_url("**/w/acme/")
    assert not page.get_by_text("alice", exact=True).is_visible()
    page.get_by_role("button", name="Menu").click()
    page.get_by_text("alice", exact=True).click()
    page.get_by_role("button", name="Dark").click()
    page.wait_for_url("**/w/acme/")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    canvas = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert canvas == "rgb(20, 24, 29)"


def test_the_admin_site_lives_under_the_policy(page: Page) -> None:
    boss = User.objects.create_superuser("boss", "boss@example.org")
    page.goto("/admin/")
    sign_in(page, boss)
    page.wait_for_url("**/w/")
    for place in ADMIN_PAGES:
        assert page.goto(place).status == 200
