from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from workspaces.access import workspace_for


@require_safe
def settings(request: HttpRequest, slug: str) -> HttpResponse:
    workspace = workspace_for(request, slug)
    return render(request, "workspaces/settings.html", {"workspace": workspace})
