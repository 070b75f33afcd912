"""What a person names in the shell, found or explained."""

from django.core.management.base import CommandError

from workspaces.models import Workspace


def workspace_named(slug: str) -> Workspace:
    """The workspace at `slug`, else a CommandError that names the ones there are."""
    workspace = Workspace.objects.filter(slug=slug).first()
    if workspace is None:
        slugs = ", ".join(Workspace.objects.order_by("slug").values_list("slug", flat=True)[:20])
        known = f"There are: {slugs}." if slugs else "There is none yet: add_workspace makes one."
        raise CommandError(f"There is no workspace {slug!r}. {known}")
    return workspace
