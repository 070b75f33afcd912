from datetime import UTC, datetime
from io import StringIO

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from pytest_django import Settings

from tests.cast import Cast
from workspaces.keys import KeyMalformed, clean_key, rotate_keys, save_key
from workspaces.models import ApiKey, Event

AT = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)
SECRET = "sk-ant-acme-0123456789f3Qa"


def test_a_key_is_saved_encrypted_with_an_event(cast: Cast) -> None:
    key = save_key(cast.workspace, "claude", f" {SECRET}\n", actor=cast.alice, at=AT)
    key.refresh_from_db()
    assert key.reveal() == SECRET
    assert SECRET not in key.secret
    assert (key.last4, key.created_by, key.created_at) == ("f3Qa", cast.alice, AT)
    event = Event.objects.get(subject=f"key:{key.pk}")
    assert event.sentence == "Claude API key ending f3Qa saved."
    assert (event.actor, event.at) == (cast.alice, AT)


def test_a_new_key_retires_the_one_before(cast: Cast) -> None:
    old = save_key(cast.workspace, "sandbox", SECRET)
    new = save_key(cast.workspace, "claude", SECRET + "b", at=AT)
    old.refresh_from_db()
    assert old.retired_at == AT
    assert cast.workspace.live_key() == new


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Bearer sk-ant-acme-0123456789",
        '"sk-ant-acme-0123456789"',
        "sk-ant-acme\n0123456789",
        "sk-ant-äcme-0123456789",
        "sk-proj-0123456789",
        "sk-ant-acme 0123456789",
    ],
)
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(KeyMalformed) as caught:
        clean_key(text)
    assert "0123456789" not in str(caught.value)


def test_rotation_encrypts_every_key_anew(cast: Cast, settings: Settings) -> None:
    for number in range(3):
        save_key(cast.workspace, "claude", f"{SECRET}{number}")
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *settings.ENCRYPTION_KEYS]
    assert (rotation := rotate_keys()).rotated == 3
    assert (rotation.current, rotation.unreadable) == (0, [])
    # The old encryption key is not needed any more, and a second call finds nothing to do.
    settings.ENCRYPTION_KEYS = settings.ENCRYPTION_KEYS[:1]
    assert {key.reveal() for key in ApiKey.objects.all()} == {f"{SECRET}{n}" for n in range(3)}
    assert (rotate_keys().rotated, rotate_keys().current) == (0, 3)


def test_a_key_that_cannot_be_opened_is_named_and_the_rest_go_on(
    cast: Cast, settings: Settings
) -> None:
    kept = settings.ENCRYPTION_KEYS
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    save_key(cast.workspace, "claude", SECRET)
    settings.ENCRYPTION_KEYS = kept
    save_key(cast.other, "claude", SECRET)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *kept]
    out, err = StringIO(), StringIO()
    with pytest.raises(SystemExit) as caught:
        call_command("rotate_keys", stdout=out, stderr=err)
    assert caught.value.code == 1
    assert err.getvalue().startswith("workspace acme, key ending f3Qa: The stored API key cannot")
    assert out.getvalue() == "1 encrypted anew, 0 already were, 1 cannot be opened.\n"


def test_a_key_moved_to_another_workspace_does_not_open(cast: Cast) -> None:
    key = save_key(cast.workspace, "claude", SECRET)
    ApiKey.objects.filter(pk=key.pk).update(workspace=cast.other)
    assert len(rotate_keys().unreadable) == 1


def test_add_key_reads_the_secret_from_stdin(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", StringIO(f"{SECRET}\n"))
    out = StringIO()
    call_command("add_key", "acme", "--api", "sandbox", stdout=out)
    assert out.getvalue() == "Sandbox key ending f3Qa is saved for acme.\n"
    key = cast.workspace.live_key()
    assert key is not None
    assert (key.api, key.reveal()) == ("sandbox", SECRET)


def test_add_key_refuses_what_is_no_key(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", StringIO("hello"))
    with pytest.raises(CommandError, match="does not look like an Anthropic key"):
        call_command("add_key", "acme")
    assert cast.workspace.live_key() is None


def test_add_key_names_the_workspaces_there_are(cast: Cast) -> None:
    with pytest.raises(CommandError, match=r"no workspace 'acne'. There are: acme, other\."):
        call_command("add_key", "acne")
