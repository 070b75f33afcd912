from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from streaming.views.conversations import newest
from workspaces.access import workspace_for

RECENT = 5


@require_safe
def recent(request: HttpRequest, slug: str) -> HttpResponse:
    """For home: the conversations that were used last; nothing where there are none."""
    workspace = workspace_for(request, slug)
    context = {"workspace": workspace, "rows": newest(workspace, RECENT)}
    return render(request, "streaming/recent.html", context)
