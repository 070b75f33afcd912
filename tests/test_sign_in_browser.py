import pytest
from django.contrib.auth import get_user_model
from playwright.sync_api import Page, expect

from workspaces.models import Membership, Workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def mei():
    user = get_user_model().objects.create_user("mei", password="a-long-secret")
    workspace = Workspace.objects.create(name="Acme", slug="acme")
    Membership.objects.create(workspace=workspace, user=user, role=Membership.Role.OWNER)
    return user


def sign_in(page: Page, name: str, password: str) -> None:
    page.goto("/")
    page.locator("input[name=login]").fill(name)
    page.locator("input[name=password]").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_it_works(page, mei):
    sign_in(page, "mei", "a-long-secret")
    page.wait_for_url("**/w/acme/")
    expect(page.locator("main")).to_be_visible()


def test_a_wrong_password_stays_on_the_page(page, mei):
    sign_in(page, "mei", "something else")
    expect(page.locator("main")).to_contain_text("do not match")
    expect(page.locator("input[name=login]")).to_have_value("mei")
