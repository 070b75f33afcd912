"""The page of the API key; what the worker does with it is in tests/batches/test_checking.py."""

import logging
from datetime import timedelta

import pytest
from django.utils import timezone
from django.utils.html import strip_tags
from playwright.sync_api import Page
from pytest_django import Settings

from batches import checking
from sandbox.scopes import KEY
from tests.cast import Cast, gather
from tests.processes import Sandbox
from tests.workspaces.test_pages_in_browser import sign_in
from workspaces.key_checks import ask_for_new, sandbox_key
from workspaces.keys import rotate_keys, save_key
from workspaces.models import ApiKey, Event, KeyCheck, Workspace

URL = "/w/acme/settings/key/"
SECRET = "sk-ant-api03-0123456789abcf3Qa"
HTMX = {"HX-Request": "true"}


def text_of(cast: Cast, name: str = "alice", page: str = "") -> str:
    content = cast.client(getattr(cast, name)).get(URL + page).content.decode()
    return " ".join(strip_tags(content.split("<main")[-1]).split())


def replace(cast: Cast, key: str = SECRET, **headers: str) -> object:
    return cast.client(cast.alice).post(f"{URL}replace/", {"key": key}, headers=headers)


def set_check(cast: Cast, state: str, **fields: object) -> KeyCheck:
    check = ask_for_new(cast.workspace, "claude", SECRET, actor=cast.alice)
    changes = {"state": state, "finished_at": timezone.now(), **fields}
    KeyCheck.objects.filter(pk=check.pk).update(**changes)
    check.refresh_from_db()
    return check


def test_it_says_what_key_there_is(cast: Cast) -> None:
    save_key(cast.workspace, "claude", SECRET, actor=cast.alice, accepted_at=timezone.now())
    text = text_of(cast)
    assert "Key ending f3Qa, added by alice on" in text
    assert "last accepted 0 s ago" in text
    assert "Claude API · https://api.anthropic.com" in text
    ApiKey.objects.update(refused="The API answers 401 authentication_error: no.")
    assert "The API answers 401 authentication_error: no. Nothing is lost" in text_of(cast)


def test_a_key_is_checked_before_anything_is_replaced(cast: Cast) -> None:
    old = save_key(cast.workspace, "claude", SECRET + "old")
    response = replace(cast, f"  {SECRET}\n")
    assert response.headers["Location"] == URL
    assert cast.workspace.live_key() == old
    check = KeyCheck.objects.get()
    assert (check.reveal(), check.is_new, check.api) == (SECRET, True, "claude")
    assert "Checking the key ending f3Qa…" in text_of(cast)
    assert "Check the key Replace" not in text_of(cast)
    live = cast.client(cast.alice).get(f"{URL}live/")
    assert 'hx-trigger="every 1s"' in live.content.decode()
    cast.client(cast.alice).post(URL, {"dismiss": ""})
    assert not KeyCheck.objects.exists()
    assert cast.client(cast.alice).get(f"{URL}live/").headers["HX-Refresh"] == "true"


def test_in_a_dialog_the_way_back_is_the_page(cast: Cast) -> None:
    response = replace(cast, SECRET, **HTMX)
    assert response.headers["HX-Redirect"] == URL


@pytest.mark.parametrize("key", ["", "Bearer sk-ant-0123456789", "no-key-0123456789", "x" * 2000])
def test_what_is_no_key_is_said_and_not_repeated(cast: Cast, key: str) -> None:
    response = replace(cast, key)
    assert response.status_code == 422
    page = response.content.decode()
    assert 'class="error"' in page
    assert "0123456789" not in page
    assert not KeyCheck.objects.exists()


@pytest.mark.parametrize("name", ["vera", "bob"])
def test_others_read_and_are_told_who_can(cast: Cast, name: str) -> None:
    save_key(cast.workspace, "claude", SECRET)
    text = text_of(cast, name)
    assert "Key ending f3Qa" in text
    assert "Only owners can change this: alice." in text
    client = cast.client(getattr(cast, name))
    assert "<form" not in client.get(URL).content.decode().split("<main")[1].split("</main")[0]
    for page, data in (("", {"check": ""}), ("replace/", {"key": SECRET}), ("remove/", {})):
        assert client.post(URL + page, data).status_code == 403
    assert cast.workspace.live_key() is not None
    assert not KeyCheck.objects.exists()


def test_a_stranger_finds_nothing(cast: Cast) -> None:
    client = cast.client(cast.charlie)
    for page in ("", "live/", "replace/", "remove/"):
        assert client.get(URL + page).status_code == 404


@pytest.mark.parametrize(
    ("state", "fields", "sentence"),
    [
        ("works", {"model_count": 14}, "Works: 14 models checked 0 s ago"),
        ("works", {"model_count": 1}, "Works: 1 model "),
        ("works", {}, "It may not list models"),
        (
            "refused",
            {"sentence": "No."},
            "The new key ending f3Qa does not work, and nothing of it",
        ),
        ("refused", {"sentence": "No.", "is_new": False}, "No."),
        ("unreachable", {"sentence": "Down."}, "The key could not be checked. Down. Nothing of"),
        ("elsewhere", {"open_elsewhere": 3}, "3 parts that are not finished were sent with a key"),
        ("checking", {"sentence": "Down."}, "Down. Trying again until"),
    ],
)
def test_it_says_what_came_of_a_check(cast: Cast, state: str, fields: dict, sentence: str) -> None:
    set_check(cast, state, **fields)
    assert sentence in text_of(cast)


def test_without_a_worker_it_says_so(cast: Cast) -> None:
    check = ask_for_new(cast.workspace, "claude", SECRET, actor=cast.alice)
    assert "Is the worker running?" not in text_of(cast)
    KeyCheck.objects.filter(pk=check.pk).update(asked_at=timezone.now() - timedelta(seconds=41))
    assert "Nothing has picked this up for 40 s. Is the worker running?" in text_of(cast)


def test_a_key_of_another_account_is_replaced_only_when_that_is_meant(cast: Cast) -> None:
    set_check(cast, "elsewhere", open_elsewhere=1, anthropic_workspace="wrkspc_new")
    assert cast.workspace.live_key() is None
    cast.client(cast.alice).post(URL, {"replace": ""})
    live = cast.workspace.live_key()
    assert (live.reveal(), live.anthropic_workspace) == (SECRET, "wrkspc_new")
    set_check(cast, "checking")
    cast.client(cast.alice).post(URL, {"replace": ""})
    assert cast.workspace.live_key() == live


def test_a_key_that_does_not_open_any_more_is_not_offered(cast: Cast, settings: Settings) -> None:
    from cryptography.fernet import Fernet

    set_check(cast, "elsewhere", open_elsewhere=1)
    assert "Replace it anyway" in text_of(cast)
    keys, settings.ENCRYPTION_KEYS = settings.ENCRYPTION_KEYS, [Fernet.generate_key().decode()]
    cast.client(cast.alice).post(URL, {"replace": ""})
    assert cast.workspace.live_key() is None
    text = text_of(cast)
    assert "Replace it anyway" not in text
    assert "The stored API key cannot be decrypted: SLUICE_ENCRYPTION_KEYS does not" in text
    settings.ENCRYPTION_KEYS = keys
    cast.client(cast.alice).post(URL, {"replace": ""})
    assert cast.workspace.live_key().reveal() == SECRET


def test_removing_says_what_waits_and_leaves_no_key(cast: Cast) -> None:
    save_key(cast.workspace, "claude", SECRET)
    assert "Batches that are not finished wait here until a key is saved" in text_of(
        cast, page="remove/"
    )
    cast.client(cast.alice).post(f"{URL}remove/")
    assert cast.workspace.live_key() is None
    assert "This workspace has no API key." in text_of(cast)
    assert Event.objects.order_by("-pk")[0].sentence == "Claude API key ending f3Qa removed."


def test_the_sandbox_takes_one_click(cast: Cast, settings: Settings) -> None:
    cast.client(cast.alice).post(URL, {"sandbox": ""})
    assert not KeyCheck.objects.exists()
    settings.SANDBOX_URL = "http://127.0.0.1:1"
    assert "Use the sandbox" in text_of(cast)
    cast.client(cast.alice).post(URL, {"sandbox": ""})
    check = KeyCheck.objects.get()
    assert (check.api, check.reveal()) == ("sandbox", sandbox_key(cast.workspace))


def test_each_workspace_has_a_place_of_its_own_in_the_sandbox() -> None:
    slugs = ("revoked", "forbidden", "demo", "workspace", "a-b", "ab", "a1", "--", "Ab", "1", "")
    keys = [sandbox_key(Workspace(pk=at, slug=slug)) for at, slug in enumerate(slugs, 1)]
    # A digit of the name is no digit of the number.
    keys += [sandbox_key(Workspace(pk=71, slug="a")), sandbox_key(Workspace(pk=1, slug="a7"))]
    scopes = {KEY.fullmatch(key)["scope"] for key in keys}
    assert len(scopes) == len(keys)
    assert not scopes & {"revoked", "forbidden", "demo"}


def test_the_key_is_nowhere_to_be_read(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = cast.client(cast.alice)
    seen = [client.post(f"{URL}replace/", {"key": SECRET}, follow=True).content.decode()]
    seen += [client.get(URL + page).content.decode() for page in ("", "live/", "replace/")]
    check = KeyCheck.objects.get()
    seen += [caplog.text, check.secret, str(check), repr(check), *map(str, Event.objects.all())]
    assert not [text for text in seen if SECRET[:20] in text]
    assert "value=" not in client.get(f"{URL}replace/").content.decode().split('name="key"')[1][:99]


def test_a_waiting_key_follows_the_keys_of_the_installation(cast: Cast, settings: Settings) -> None:
    from cryptography.fernet import Fernet

    check = ask_for_new(cast.workspace, "claude", SECRET, actor=cast.alice)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *settings.ENCRYPTION_KEYS]
    assert rotate_keys().rotated == 1
    settings.ENCRYPTION_KEYS = settings.ENCRYPTION_KEYS[:1]
    assert KeyCheck.objects.get(pk=check.pk).reveal() == SECRET


def test_the_page_follows_a_check(page: Page, sandbox: Sandbox, settings: Settings) -> None:
    settings.SANDBOX_URL = sandbox.url
    cast = gather()
    save_key(cast.workspace, "sandbox", "sk-ant-acmekeypage-local")
    sign_in(page, cast.alice)
    page.wait_for_url("**/w/acme/")
    page.goto(URL)
    page.get_by_role("button", name="Check the key").click()
    page.get_by_text("Checking the key…").wait_for()
    assert checking.step(timezone.now())
    page.get_by_text("Works:").wait_for()
    page.get_by_role("button", name="Check the key").wait_for()
    page.get_by_role("link", name="Replace…").click()
    page.locator("#dialog").get_by_label("API key").fill(SECRET)
    page.get_by_role("button", name="Check and save the key").click()
    page.get_by_text("Checking the key ending f3Qa…").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Check the key").wait_for()
    assert not KeyCheck.objects.exists()
