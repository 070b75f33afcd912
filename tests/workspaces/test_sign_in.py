import pytest
from allauth.mfa.totp.internal import auth
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.test import Client
from pytest_django import Settings

from tests.cast import Cast

PASSWORD = "long and winding road"
FAST = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def mei(db: None, settings: Settings) -> User:
    settings.PASSWORD_HASHERS = FAST
    cache.clear()
    return User.objects.create_user("mei", "mei@x.org", PASSWORD)


def sign_in(client: Client, name: str, password: str) -> object:
    return client.post("/accounts/login/", {"login": name, "password": password})


@pytest.mark.parametrize("name", ["mei", "mei@x.org"])
def test_a_name_or_an_address_signs_in(mei: User, client: Client, name: str) -> None:
    response = sign_in(client, name, PASSWORD)
    assert (response.status_code, response.headers["Location"]) == (302, "/")
    page = client.get("/", follow=True).content.decode()
    assert "You are not in a workspace yet. Ask an owner to add mei@x.org." in page


@pytest.mark.parametrize("name", ["mei", "mei@x.org", "nobody", "nobody@x.org"])
def test_a_wrong_password_and_a_wrong_name_read_the_same(
    mei: User, client: Client, name: str
) -> None:
    page = sign_in(client, name, "wrong").content.decode()
    assert page.count("That username and password do not match.") == 1
    assert f'value="{name}"' in page
    assert 'value="wrong"' not in page


def test_too_many_tries_are_told_to_wait(mei: User, client: Client) -> None:
    for _ in range(5):
        sign_in(client, "mei", "wrong")
    page = sign_in(Client(), "mei", PASSWORD).content.decode()
    assert "Too many tries. Wait 5 minutes." in page
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM cache")
        assert cursor.fetchone()[0] > 0


def test_nobody_signs_up(db: None, client: Client) -> None:
    fields = {"username": "eve", "password1": PASSWORD, "password2": PASSWORD}
    page = client.post("/accounts/signup/", fields).content.decode()
    assert "Accounts are made by your team" in page
    assert not User.objects.exists()


def test_signing_out_wants_a_press(cast: Cast) -> None:
    client = cast.client(cast.bob)
    assert "Sign out?" in client.get("/accounts/logout/").content.decode()
    assert client.get("/w/acme/").status_code == 200
    client.post("/accounts/logout/")
    assert client.get("/w/acme/").status_code == 302


def test_the_demo_fields_are_filled_under_make_run_only(mei: User, settings: Settings) -> None:
    User.objects.create_user("demo")
    assert "Demo: user" not in Client().get("/accounts/login/").content.decode()
    settings.DEMO = True
    page = Client().get("/accounts/login/").content.decode()
    assert "Demo: user <code>demo</code>, password <code>demo</code>" in page
    User.objects.all().delete()
    assert "Demo: user" not in Client().get("/accounts/login/").content.decode()


def test_a_second_factor_is_turned_on_and_asked_for(mei: User, client: Client) -> None:
    sign_in(client, "mei", PASSWORD)
    activate = "/accounts/2fa/totp/activate/"
    assert "Is it still you?" in client.get(activate, follow=True).content.decode()
    asked = {"password": PASSWORD, "next": activate}
    page = client.post("/accounts/reauthenticate/", asked, follow=True)
    counter = next(iter(auth.yield_hotp_counters_from_time()))
    code = auth.format_hotp_value(auth.hotp_value(page.context["form"].secret, counter))
    done = client.post(activate, {"code": code}, follow=True)
    assert "Recovery codes" in done.content.decode()
    asked = Client()
    assert sign_in(asked, "mei", PASSWORD).headers["Location"] == "/accounts/2fa/authenticate/"
    assert "Enter a code" in asked.get("/accounts/2fa/authenticate/").content.decode()
    assert asked.get("/accounts/2fa/").status_code == 302


PAGES = (
    "login/",
    "signup/",
    "inactive/",
    "confirm-email/",
    "password/reset/",
    "password/reset/done/",
    "password/reset/key/done/",
    "password/reset/key/x-y/",
    "confirm-email/x/",
)
SIGNED_IN_PAGES = (
    "logout/",
    "email/",
    "password/change/",
    "reauthenticate/",
    "2fa/",
    "2fa/totp/activate/",
    "2fa/recovery-codes/generate/",
)


@pytest.mark.parametrize("mail", [True, False])
def test_every_page_of_an_account_is_ours_and_plain(
    mei: User, client: Client, settings: Settings, mail: bool
) -> None:
    settings.EMAIL_IS_CONFIGURED = mail
    texts = [Client().get(f"/accounts/{page}", follow=True) for page in PAGES]
    sign_in(client, "mei", PASSWORD)
    texts += [client.get(f"/accounts/{page}", follow=True) for page in SIGNED_IN_PAGES]
    for response in texts:
        text = response.content.decode()
        assert response.status_code == 200, response.request["PATH_INFO"]
        assert 'class="calm"' in text or 'class="framed"' in text
        for forbidden in ("<script", "style=", "<style", "Please", "successfully"):
            assert forbidden not in text, response.request["PATH_INFO"]


@pytest.mark.both_databases
@pytest.mark.django_db(transaction=True)
def test_the_cache_table_comes_and_goes_with_its_migration() -> None:
    def exists() -> bool:
        return "cache" in connection.introspection.table_names()

    assert exists()
    call_command("migrate", "workspaces", "0001", verbosity=0)
    assert not exists()
    call_command("migrate", verbosity=0)
    assert exists()
    cache.set("key", "value")
    assert cache.get("key") == "value"
