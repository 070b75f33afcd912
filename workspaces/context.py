"""What the frame around every page needs to know."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from workspaces.access import may, memberships_of
from workspaces.models import ApiKey, Membership

THEMES = ("light", "dark")
MOST = 20  # workspaces in the menu; the page of all of them has the rest


def frame(request: HttpRequest) -> dict[str, Any]:
    membership = getattr(request, "membership", None)
    theme = request.COOKIES.get("theme", "")
    return {
        "theme": theme if theme in THEMES else "",
        "keys_off": request.COOKIES.get("keys") == "off",
        "membership": membership,
        # Asked for by the pages that have a frame, and not by what is put into them.
        "memberships_here": lambda: list(memberships_of(request.user)[:MOST]),
        "may_run": membership is not None and may(membership, Membership.Role.MEMBER),
        "is_owner": membership is not None and may(membership, Membership.Role.OWNER),
        "sandboxed": membership is not None and uses_sandbox(membership.workspace_id),
        "mail_is_configured": settings.EMAIL_IS_CONFIGURED,
    }


def uses_sandbox(workspace_id: int) -> bool:
    live = ApiKey.objects.filter(workspace_id=workspace_id, retired_at=None)
    return live.filter(api=ApiKey.Api.SANDBOX).exists()
