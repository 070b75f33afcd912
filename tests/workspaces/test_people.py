from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from threading import Barrier

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection

from tests.cast import Cast, gather
from workspaces.models import Event, Membership, Workspace
from workspaces.people import LastOwner, set_role


def add_member(*arguments: str) -> str:
    out = StringIO()
    call_command("add_member", *arguments, stdout=out)
    return out.getvalue()


def role_of(cast: Cast, name: str) -> str:
    return Membership.objects.get(workspace=cast.workspace, user__username=name).role


def test_a_new_user_is_made_with_a_password_that_is_printed_once(cast: Cast) -> None:
    first, second = add_member("acme", "mei", "member", "--email", "mei@x.org").splitlines()
    user = User.objects.get(username="mei")
    assert first.startswith("Password of mei: ")
    assert user.check_password(first.removeprefix("Password of mei: "))
    assert (user.email, second) == ("mei@x.org", "mei is member of acme.")
    assert Event.objects.get(subject=f"user:{user.pk}").sentence == "mei is now member."


def test_a_password_may_be_given_on_stdin(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", StringIO("long and winding road\n"))
    assert add_member("acme", "mei", "viewer", "--password-stdin") == "mei is viewer of acme.\n"
    assert User.objects.get(username="mei").check_password("long and winding road")


def test_a_weak_password_makes_no_user(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", StringIO("password\n"))
    with pytest.raises(CommandError, match="too common"):
        add_member("acme", "mei", "viewer", "--password-stdin")
    assert not User.objects.filter(username="mei").exists()


def test_a_member_who_is_there_changes_the_role(cast: Cast) -> None:
    assert add_member("acme", "bob", "owner") == "bob is owner of acme.\n"
    assert role_of(cast, "bob") == "owner"
    assert add_member("acme", "alice", "viewer") == "alice is viewer of acme.\n"


def test_the_last_owner_stays_one(cast: Cast) -> None:
    with pytest.raises(CommandError, match="alice is the last owner of acme"):
        add_member("acme", "alice", "member")
    assert role_of(cast, "alice") == "owner"
    # An owner whose account is closed cannot look after the workspace.
    set_role(cast.workspace, cast.bob, "owner")
    User.objects.filter(username="bob").update(is_active=False)
    with pytest.raises(LastOwner):
        set_role(cast.workspace, cast.alice, "viewer")


@pytest.mark.both_databases
@pytest.mark.django_db(transaction=True)
def test_two_owners_who_step_back_at_once_leave_one(transactional_db: None) -> None:
    cast = gather()
    set_role(cast.workspace, cast.bob, "owner")
    barrier = Barrier(2)

    def step_back(user: User) -> str:
        barrier.wait()
        try:
            return set_role(cast.workspace, user, "viewer").role
        except LastOwner:
            return "owner"
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(step_back, [cast.alice, cast.bob])) == ["owner", "viewer"]
    assert cast.workspace.memberships.filter(role="owner").count() == 1


def test_bad_input_is_refused(cast: Cast) -> None:
    with pytest.raises(CommandError, match=r"no workspace 'nope'. There are: acme, other\."):
        add_member("nope", "bob", "viewer")
    with pytest.raises(CommandError, match="invalid choice"):
        add_member("acme", "bob", "boss")
    with pytest.raises(CommandError, match="valid email"):
        add_member("acme", "mei", "viewer", "--email", "not an address")
    with pytest.raises(CommandError, match="for a new user"):
        add_member("acme", "bob", "viewer", "--email", "bob@x.org")


def test_a_workspace_is_made_at_an_address_from_its_name(db: None) -> None:
    out = StringIO()
    call_command("add_workspace", "Reviews & Returns", stdout=out)
    assert out.getvalue() == "reviews-returns\n"
    assert Workspace.objects.get().name == "Reviews & Returns"


def test_an_address_is_taken_once(cast: Cast) -> None:
    with pytest.raises(CommandError, match="There is a workspace acme already"):
        call_command("add_workspace", "Acme")
    with pytest.raises(CommandError, match="--slug has letters"):
        call_command("add_workspace", "Acme", "--slug", "a b")
    with pytest.raises(CommandError, match="1 to 100"):
        call_command("add_workspace", "a\x00b")
