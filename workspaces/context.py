"""What the frame around every page needs to know."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from workspaces.access import may
from workspaces.models import ApiKey, Membership

THEMES = ("light", "dark")


def frame(request: HttpRequest) -> dict[str, Any]:
    membership = getattr(request, "membership", None)
    theme = request.COOKIES.get("theme", "")
    return {
        "theme": theme if theme in THEMES else "",
        "keys_off": request.COOKIES.get("keys") == "off",
        "membership": membership,
        "may_run": membership is not None and may(membership, Membership.Role.MEMBER),
        "is_owner": membership is not None and may(membership, Membership.Role.OWNER),
        "sandboxed": membership is not None and uses_sandbox(membership.workspace_id),
        "mail_is_configured": settings.EMAIL_IS_CONFIGURED,
    }


def uses_sandbox(workspace_id: int) -> bool:
    live = ApiKey.objects.filter(workspace_id=workspace_id, retired_at=None)
    return live.filter(api=ApiKey.Api.SANDBOX).exists()
