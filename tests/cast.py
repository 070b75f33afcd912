"""The people of every test: who is in which workspace, and as what."""

from dataclasses import dataclass

import pytest
from django.contrib.auth.models import User
from django.test import Client

from workspaces.models import Membership, Workspace


@dataclass(frozen=True)
class Cast:
    """Alice owns the workspace, Bob is a member, Vera views, Rita was removed from it.

    Charlie is a stranger: the owner of `other`.
    """

    workspace: Workspace
    other: Workspace
    alice: User
    bob: User
    vera: User
    charlie: User
    rita: User

    def as_role(self, role: str) -> User | None:
        """The person who plays a role of ROLES; None is nobody signed in."""
        people = (None, self.charlie, self.rita, self.vera, self.bob, self.alice)
        return dict(zip(ROLES, people, strict=True))[role]

    def client(self, user: User | None, *, enforce_csrf_checks: bool = False) -> Client:
        client = Client(enforce_csrf_checks)
        if user is not None:
            client.force_login(user)
        return client


ROLES = ("anonymous", "stranger", "removed", "viewer", "member", "owner")


def gather() -> Cast:
    workspace = Workspace.objects.create(name="Acme", slug="acme")
    other = Workspace.objects.create(name="Other", slug="other")
    names = ("alice", "bob", "vera", "charlie", "rita")
    people = {name: User.objects.create_user(name, f"{name}@example.org") for name in names}
    role = Membership.Role
    for where, name, what in (
        (workspace, "alice", role.OWNER),
        (workspace, "bob", role.MEMBER),
        (workspace, "vera", role.VIEWER),
        (workspace, "rita", role.OWNER),
        (other, "charlie", role.OWNER),
    ):
        Membership.objects.create(workspace=where, user=people[name], role=what)
    Membership.objects.filter(user=people["rita"]).delete()
    return Cast(workspace, other, **people)


@pytest.fixture
def cast(db: None) -> Cast:
    return gather()
