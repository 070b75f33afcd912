from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.test import Client, RequestFactory

from tests.cast import Cast
from workspaces.access import may_follow, memberships_of, require, workspace_for
from workspaces.models import Membership

AT = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)


def asked_by(user: object) -> HttpRequest:
    request = RequestFactory().get("/")
    request.user = user
    return request


def test_a_viewer_is_given_the_workspace(cast: Cast) -> None:
    request = asked_by(cast.vera)
    assert workspace_for(request, "acme") == cast.workspace
    assert request.membership.role == "viewer"


@pytest.mark.parametrize("name", ["charlie", "rita"])
def test_a_stranger_is_not_told_that_it_exists(cast: Cast, name: str) -> None:
    for role in Membership.Role.values:
        with pytest.raises(Http404):
            require(asked_by(getattr(cast, name)), "acme", role)


def test_superusers_have_no_access_by_themselves(cast: Cast) -> None:
    cast.charlie.is_superuser = True
    cast.charlie.save()
    with pytest.raises(Http404):
        workspace_for(asked_by(cast.charlie), "acme")


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("viewer", {"vera", "bob", "alice"}),
        ("member", {"bob", "alice"}),
        ("owner", {"alice"}),
    ],
)
def test_a_role_includes_the_ones_below(cast: Cast, role: str, allowed: set[str]) -> None:
    through = set()
    for name in ("vera", "bob", "alice"):
        try:
            require(asked_by(getattr(cast, name)), "acme", role)
        except PermissionDenied:
            continue
        through.add(name)
    assert through == allowed


def test_the_refusal_names_who_can_help(cast: Cast) -> None:
    with pytest.raises(PermissionDenied, match=r"You can read in Acme .* Ask an owner: alice\."):
        require(asked_by(cast.vera), "acme", "member")
    with pytest.raises(PermissionDenied, match=r"Only owners of Acme .*: alice\."):
        require(asked_by(cast.bob), "acme", "owner")


def test_a_closed_account_is_out_at_once(cast: Cast) -> None:
    type(cast.bob).objects.filter(pk=cast.bob.pk).update(is_active=False)
    with pytest.raises(Http404):
        workspace_for(asked_by(cast.bob), "acme")
    assert not memberships_of(cast.bob)


def test_a_visit_is_noted_once_a_minute(cast: Cast) -> None:
    seen = []
    for seconds in (0, 59, 60):
        workspace_for(asked_by(cast.bob), "acme", at=AT + timedelta(seconds=seconds))
        seen.append(Membership.objects.get(user=cast.bob).seen_at)
    assert seen == [AT, AT, AT + timedelta(minutes=1)]


@pytest.mark.django_db(transaction=True)
async def test_a_socket_is_for_those_who_may_read(cast: Cast) -> None:
    vera, charlie = await sign_in(cast.vera), await sign_in(cast.charlie)
    assert await may_follow(vera, "acme") == cast.workspace
    assert await may_follow(charlie, "acme") is None
    assert await may_follow(None, "acme") is None


@pytest.mark.django_db(transaction=True)
async def test_a_session_that_ended_follows_nothing(cast: Cast) -> None:
    vera = await sign_in(cast.vera)
    await Session.objects.filter(pk=vera).adelete()
    assert await may_follow(vera, "acme") is None


async def sign_in(user: User) -> str | None:
    client = Client()
    await client.aforce_login(user)
    return client.session.session_key
