from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from batches.models import Batch
from batches.pages import Page
from workspaces.access import workspace_for

PER_PAGE = 50


@require_safe
def home(request: HttpRequest, slug: str) -> HttpResponse:
    """The workspace's batches, newest first."""
    workspace = workspace_for(request, slug)
    batches = Batch.objects.filter(workspace=workspace, deleting_at=None).select_related("upload")
    page = Page.read(batches, request.GET, PER_PAGE)
    context = {"workspace": workspace, "page": page}
    return render(request, "batches/home.html", context)


@require_safe
def home_live(request: HttpRequest, slug: str) -> HttpResponse:
    workspace_for(request, slug)
    return HttpResponse(status=204)
