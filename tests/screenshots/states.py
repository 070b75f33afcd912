"""The states that pages can be in: rows and files as the stages leave them, and where to look."""

from typing import Any

from django.utils import timezone
from playwright.sync_api import Page

from batches.models import Batch
from tests.screenshots.again import of_retries
from tests.screenshots.batches import of_answers, of_runs
from tests.screenshots.conversations import of_conversations
from tests.screenshots.drafts import of_files, of_recipes, of_reviews
from tests.screenshots.elsewhere import of_elsewhere
from tests.screenshots.making import (
    RECIPE,
    SECRET,
    House,
    ago,
    move_in,
    worker_stopped,
)
from tests.screenshots.state import State
from tests.screenshots.troubles import of_troubles
from workspaces.key_checks import ask_for_new
from workspaces.models import KeyCheck, Workspace


def furnish(many: int = 40) -> list[State]:
    """Everything; `many` rows where there are many."""
    house = move_in()
    team = house.workspace("team", "Reviews team", api="claude")
    return [
        *of_nobody(house),
        *of_settings(house, team),
        *of_files(house, team, many),
        *of_recipes(house, team),
        *of_reviews(house, team, many),
        *of_runs(house, team, many),
        *of_answers(house, team, many),
        *of_conversations(house, team),
        *of_troubles(house),
        *of_retries(house),
        *of_elsewhere(house),
        *of_lists(house, team),
    ]


# Sign-in, refusals, settings.


def fill_in_wrong(page: Page) -> None:
    page.locator("input[name=login]").fill("mei")
    page.locator("input[name=password]").fill("not this")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("do not match").wait_for()


def of_nobody(house: House) -> list[State]:
    return [
        State("sign-in", "/accounts/login/", who="", main=True),
        State("sign-in-wrong", "/accounts/login/", who="", do=fill_in_wrong),
        State("no-workspace", "/w/", who="rita", main=True),
        State("workspaces", "/w/", main=True),
        State("not-found", "/w/nowhere/", main=True),
        State("forbidden", "/w/team/batches/new/", who="vera"),
        State("account-password", "/accounts/password/change/", main=True),
        State("account-factors", "/accounts/2fa/"),
        State("account-e-mail", "/accounts/email/"),
        State("sign-out", "/accounts/logout/"),
    ]


def check_key(house: House, slug: str, state: str, **changes: Any) -> str:
    workspace = house.workspace(slug, api="claude")
    check = ask_for_new(workspace, "claude", SECRET, actor=house.people["mei"])
    if state != "checking":
        changes |= {"state": state, "finished_at": timezone.now()}
    KeyCheck.objects.filter(pk=check.pk).update(**changes)
    return f"/w/{slug}/settings/key/"


def of_settings(house: House, team: Workspace) -> list[State]:
    settings, jon = "/w/team/settings/", team.memberships.get(user=house.people["jon"]).pk
    house.workspace("keyless")
    no = "The API answers 401 authentication_error: invalid x-api-key."
    return [
        State("settings", settings, main=True),
        State("settings-viewer", settings, who="vera"),
        State("key", f"{settings}key/", main=True),
        State("key-viewer", f"{settings}key/", who="vera"),
        State("key-none", "/w/keyless/settings/key/", main=True),
        State("key-replace", f"{settings}key/replace/", main=True),
        State("key-remove", f"{settings}key/remove/"),
        State("key-checking", check_key(house, "checking", "checking")),
        State("key-refused", check_key(house, "unwelcome", "refused", sentence=no)),
        State("members", f"{settings}members/", main=True),
        State("members-viewer", f"{settings}members/", who="vera"),
        State("member", f"{settings}members/{jon}/", main=True),
        State("member-remove", f"{settings}members/{jon}/remove/"),
    ]


def of_lists(house: House, team: Workspace) -> list[State]:
    house.workspace("empty", "Nothing yet", api="claude")
    house.workspace("newcomer", "No key yet")
    busy = house.workspace("busy", "A busy team", api="claude")
    mei = house.people["mei"]
    Batch.objects.bulk_create(
        Batch(
            workspace=busy, name=f"Tickets of week {week}", state="ended", created_by=mei,
            created_at=ago(60 * 24 * 7 * (60 - week)), recipe=RECIPE, rows=800, sent=800,
            succeeded=800 if week % 7 else 640, errored=0 if week % 7 else 160,
            parts=8, parts_ended=8,
        )
        for week in range(1, 61)
    )  # fmt: skip

    def open_menu(page: Page) -> None:
        page.get_by_role("button", name="Menu").click()

    def open_user(page: Page) -> None:
        page.locator(".sidebar details.user summary").click()

    batches = "/w/team/batches/"
    return [
        State("home", "/w/team/", main=True),
        State("home-empty", "/w/empty/", main=True),
        State("home-empty-no-key", "/w/newcomer/"),
        State("home-empty-viewer", "/w/empty/", who="vera"),
        State("home-sandbox", "/w/sandbox/"),
        State("home-key-refused", "/w/refused/", main=True),
        State("home-viewer", "/w/team/", who="vera"),
        State("home-user-menu", "/w/team/", do=open_user, widths=(1440,)),
        State("home-worker-stopped", "/w/team/", during=worker_stopped),
        State("batches", batches, main=True),
        State("batches-many", "/w/busy/batches/"),
        State("batches-filtered", f"{batches}?state=ended"),
        State("batches-nothing-found", f"{batches}?q=invoice&state=ended", main=True),
        State("batches-empty", "/w/empty/batches/"),
        State("batches-viewer", batches, who="vera"),
        State("menu-on-a-phone", batches, do=open_menu, widths=(390,)),
    ]
