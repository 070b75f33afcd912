from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from workspaces.access import workspace_for


@require_safe
def batches(request: HttpRequest, slug: str) -> HttpResponse:
    workspace = workspace_for(request, slug)
    return render(request, "batches/batches.html", {"workspace": workspace})


@require_safe
def batches_live(request: HttpRequest, slug: str) -> HttpResponse:
    workspace_for(request, slug)
    return HttpResponse(status=204)
