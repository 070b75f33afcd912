"""Which workspace and which key a command in a shell works with: found, or explained."""

from collections.abc import Callable

from django.conf import settings
from django.core.management.base import CommandError

from workspaces.keys import KeyMalformed, save_key
from workspaces.models import ApiKey, Workspace

REFUSED = 2
NO_KEY = 3


def workspace_named(slug: str) -> Workspace:
    """The workspace at `slug`, else a CommandError that names the ones there are."""
    workspace = Workspace.objects.filter(slug=slug).first()
    if workspace is None:
        raise CommandError(f"There is no workspace {slug!r}. {known()}", returncode=REFUSED)
    return workspace


def choose_workspace(slug: str) -> Workspace:
    """The named workspace, else the only one there is; with none at all `default` is made."""
    if slug:
        return workspace_named(slug)
    found = list(Workspace.objects.order_by("pk")[:2])
    if len(found) > 1:
        raise CommandError(f"Name the workspace: --workspace SLUG. {known()}", returncode=REFUSED)
    return found[0] if found else Workspace.objects.create(name="Default", slug="default")


def known() -> str:
    slugs = ", ".join(Workspace.objects.order_by("slug").values_list("slug", flat=True)[:20])
    return f"There are: {slugs}." if slugs else "There is none yet: add_workspace makes one."


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
        try:
            return save_key(workspace, ApiKey.Api.CLAUDE, given)
        except KeyMalformed as error:
            raise CommandError(f"ANTHROPIC_API_KEY: {error}", returncode=NO_KEY) from None
    if why := key.why_unreadable():
        raise CommandError(why, returncode=NO_KEY)
    if given and key.reveal() != given:
        say(
            f"ANTHROPIC_API_KEY is not used: the workspace {workspace.slug} has its own {key}. "
            f"To change it: manage.py add_key {workspace.slug}"
        )
    return key
