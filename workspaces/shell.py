"""Which workspace and which key a command in a shell works with."""

from collections.abc import Callable

from django.conf import settings
from django.core.management.base import CommandError
from django.db import transaction

from workspaces.models import ApiKey, Event, Workspace

NO_KEY = 3


def choose_workspace(slug: str, *, create: bool = False) -> Workspace:
    """The named workspace, else the only one there is; with none at all `default` is made."""
    if slug:
        workspace = Workspace.objects.filter(slug=slug).first()
        if workspace is None:
            raise CommandError(f"There is no workspace {slug}. {known_slugs()}", returncode=2)
        return workspace
    found = list(Workspace.objects.order_by("pk")[:2])
    if len(found) > 1:
        raise CommandError(f"Name the workspace: --workspace SLUG. {known_slugs()}", returncode=2)
    if not found and create:
        return Workspace.objects.create(name="Default", slug="default")
    if not found:
        raise CommandError("There is no workspace yet.", returncode=2)
    return found[0]


def known_slugs() -> str:
    slugs = ", ".join(Workspace.objects.order_by("slug").values_list("slug", flat=True)[:20])
    return f"There are: {slugs}." if slugs else "There is none yet."


def ensure_key(workspace: Workspace, say: Callable[[str], None]) -> ApiKey:
    """The workspace's stored key; ANTHROPIC_API_KEY becomes it where there is none yet."""
    given = settings.ANTHROPIC_API_KEY
    key = workspace.live_key()
    if key is None and not given:
        raise CommandError(
            f"The workspace {workspace.slug} has no API key. Set ANTHROPIC_API_KEY, or save one: "
            f"manage.py add_key {workspace.slug}",
            returncode=NO_KEY,
        )
    if key is None:
        return save_key(workspace, given)
    if given and key.reveal() != given:
        say(
            f"ANTHROPIC_API_KEY is not used: the workspace {workspace.slug} has its own "
            f"{key}. To change it: manage.py add_key {workspace.slug}"
        )
    return key


def save_key(workspace: Workspace, secret: str) -> ApiKey:
    with transaction.atomic():
        key = ApiKey.seal(workspace, ApiKey.Api.CLAUDE, secret)
        Event.objects.create(
            workspace=workspace,
            subject="key",
            verb="key",
            sentence=f"The key ending {key.last4} was saved from ANTHROPIC_API_KEY.",
        )
    return key
