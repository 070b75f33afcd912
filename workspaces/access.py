"""The only place that decides who may see or do what.

A viewer reads and exports, a member also runs, an owner also holds the keys and the people.
Whoever is not in a workspace, superusers included, gets 404: not even its existence is told.
Whoever is in it but may not do this gets 403.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from channels.db import database_sync_to_async
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest

from leases.clock import database_now
from workspaces.models import Membership, Workspace

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

RANKS = {Membership.Role.VIEWER: 1, Membership.Role.MEMBER: 2, Membership.Role.OWNER: 3}
SEEN_EVERY = timedelta(minutes=1)


def may(membership: Membership, role: str) -> bool:
    """Whether the membership allows what `role` may do."""
    return RANKS[Membership.Role(membership.role)] >= RANKS[Membership.Role(role)]


def find_membership(user: "User | AnonymousUser", slug: str) -> Membership | None:
    """Read anew each time, so that a removed person or a closed account is out at once."""
    return memberships_of(user).filter(workspace__slug=slug).first()


def memberships_of(user: "User | AnonymousUser") -> QuerySet[Membership]:
    """Where the person is in, by the names of the workspaces."""
    if not user.is_authenticated:
        return Membership.objects.none()
    rows = Membership.objects.filter(user=user, user__is_active=True)
    return rows.select_related("workspace").order_by("workspace__name", "pk")


def workspace_for(request: HttpRequest, slug: str, *, at: datetime | None = None) -> Workspace:
    """The workspace, for anybody who is in it; Http404 for everybody else.

    Leaves the membership at `request.membership` for the page, and notes the visit.
    """
    membership = find_membership(request.user, slug)
    if membership is None:
        raise Http404("no such workspace for this person")
    note_visit(membership, at or database_now())
    request.membership = membership  # type: ignore[attr-defined]
    return membership.workspace


def require(request: HttpRequest, slug: str, role: str, *, at: datetime | None = None) -> Workspace:
    """The workspace, for those who may do what `role` may; Http404 or PermissionDenied."""
    workspace = workspace_for(request, slug, at=at)
    if not may(request.membership, role):  # type: ignore[attr-defined]
        raise PermissionDenied(refusal(workspace, role))
    return workspace


def refusal(workspace: Workspace, role: str) -> str:
    names = owner_names(workspace)
    if role == Membership.Role.OWNER:
        return f"Only owners of {workspace.name} can change this: {names}."
    return f"You can read in {workspace.name} but not change it. Ask an owner: {names}."


def owner_names(workspace: Workspace) -> str:
    """Whom to ask: Mei, Jon."""
    owners = workspace.memberships.filter(role=Membership.Role.OWNER, user__is_active=True)
    users = [owner.user for owner in owners.select_related("user").order_by("pk")[:3]]
    return ", ".join(user.get_username() for user in users)


@database_sync_to_async
def may_follow(session_key: str | None, slug: str) -> Workspace | None:
    """For sockets: the workspace that whoever is signed in with this session may read, else None.

    The session is read anew each time, so that one that was signed out is out.
    """
    request = HttpRequest()
    request.session = SessionStore(session_key)
    membership = find_membership(get_user(request), slug)
    return membership.workspace if membership else None


def note_visit(membership: Membership, at: datetime) -> None:
    if membership.seen_at and membership.seen_at > at - SEEN_EVERY:
        return
    old = Q(seen_at=None) | Q(seen_at__lte=at - SEEN_EVERY)
    Membership.objects.filter(old, pk=membership.pk).update(seen_at=at)
