"""What the frame around every page needs to know."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from workspaces.models import ApiKey

THEMES = ("light", "dark")


def frame(request: HttpRequest) -> dict[str, Any]:
    membership = getattr(request, "membership", None)
    theme = request.COOKIES.get("theme", "")
    return {
        "theme": theme if theme in THEMES else "",
        "membership": membership,
        "sandboxed": membership is not None and uses_sandbox(membership.workspace_id),
        "mail_is_configured": settings.EMAIL_IS_CONFIGURED,
    }


def uses_sandbox(workspace_id: int) -> bool:
    live = ApiKey.objects.filter(workspace_id=workspace_id, retired_at=None)
    return live.filter(api=ApiKey.Api.SANDBOX).exists()
