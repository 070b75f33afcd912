"""Workspaces are made, and people are let into them."""

from typing import TYPE_CHECKING

from django.db import transaction
from django.utils.text import slugify

from workspaces.models import Event, Membership, Workspace

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class LastOwner(Exception):
    """A workspace without an owner could never be changed again."""


class SlugTaken(Exception):
    """Another workspace has this address."""


def create_workspace(name: str, slug: str = "") -> Workspace:
    """A workspace at `slug`, or at what its name makes; SlugTaken when that is another's."""
    slug = slug or slugify(name)[:50].strip("-") or "workspace"
    workspace, created = Workspace.objects.get_or_create(slug=slug, defaults={"name": name})
    if not created:
        raise SlugTaken(f"There is a workspace {slug} already: give another --slug.")
    return workspace


def set_role(
    workspace: Workspace, user: "User", role: str, *, actor: "User | None" = None
) -> Membership:
    """Let the user in, or change what an insider may do; LastOwner when none would be left."""
    with transaction.atomic():
        # The lock makes two owners who step back at once follow each other.
        Workspace.objects.select_for_update().get(pk=workspace.pk)
        old = workspace.memberships.filter(user=user).first()
        if old and old.role == role:
            return old
        refuse_without_owner(workspace, user, role)
        membership, _ = workspace.memberships.update_or_create(user=user, defaults={"role": role})
        Event.objects.create(
            workspace=workspace,
            actor=actor,
            subject=f"user:{user.pk}",
            verb="changed" if old else "added",
            sentence=f"{user.get_username()} is now {membership.get_role_display().lower()}.",
        )
    return membership


def remove(membership: Membership, *, actor: "User | None" = None) -> None:
    """Put a person out of a workspace, or let one leave; LastOwner when none would be left."""
    workspace, user = membership.workspace, membership.user
    with transaction.atomic():
        Workspace.objects.select_for_update().get(pk=workspace.pk)
        refuse_without_owner(workspace, user, "")
        deleted, _ = workspace.memberships.filter(pk=membership.pk).delete()
        if deleted:
            how = "left" if actor == user else "was removed"
            Event.objects.create(
                workspace=workspace,
                actor=actor,
                subject=f"user:{user.pk}",
                verb="removed",
                sentence=f"{user.get_username()} {how}.",
            )


def rename(workspace: Workspace, name: str, *, actor: "User | None" = None) -> None:
    """Another name; the address stays, for links lead to it."""
    with transaction.atomic():
        old = Workspace.objects.select_for_update().get(pk=workspace.pk).name
        if old == name:
            return
        Workspace.objects.filter(pk=workspace.pk).update(name=name)
        Event.objects.create(
            workspace=workspace,
            actor=actor,
            subject=f"workspace:{workspace.pk}",
            verb="renamed",
            sentence=f"{old} is called {name} now.",
        )


def refuse_without_owner(workspace: Workspace, user: "User", role: str) -> None:
    owners = workspace.memberships.filter(role=Membership.Role.OWNER, user__is_active=True)
    if role == Membership.Role.OWNER or not owners.filter(user=user).exists():
        return
    if not owners.exclude(user=user).exists():
        raise LastOwner(
            f"{user.get_username()} is the last owner of {workspace.slug}: make somebody else "
            "an owner first."
        )
