from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from batches.attention import lately, needs, running
from batches.models import Batch
from batches.month import month_of
from batches.pages import read_id
from batches.views.batches import first_steps
from leases.clock import database_now
from workspaces.access import workspace_for
from workspaces.live import Region
from workspaces.models import Workspace

RUNNING = 8
LATELY = 5
KEPT = 2 * RUNNING
SECONDS = 5


@require_safe
def home(request: HttpRequest, slug: str) -> HttpResponse:
    """What needs a person, what runs, what came in, and what the month brought."""
    workspace = workspace_for(request, slug)
    context: dict[str, Any] = {"workspace": workspace, **first_steps(workspace)}
    if Batch.objects.filter(workspace=workspace, deleting_at=None).exists():
        context["now"] = now_of(request, workspace)
        context["month"] = month_of(workspace, database_now())
    return render(request, "batches/home.html", context)


@require_safe
def home_live(request: HttpRequest, slug: str) -> HttpResponse:
    workspace = workspace_for(request, slug)
    return now_of(request, workspace).answer()


def now_of(request: HttpRequest, workspace: Workspace) -> Region:
    """What needs somebody and what runs; what ends meanwhile stays where it is."""
    asked = (read_id(text) for text in request.GET.get("kept", "").split(",")[:KEPT])
    kept = [pk for pk in asked if pk is not None]
    shown = running(workspace, kept, RUNNING + len(kept))
    here = [batch.pk for batch in shown]
    context = {
        "workspace": workspace,
        "slug": workspace.slug,
        "needs": needs(workspace, database_now()),
        "running": shown,
        "lately": lately(workspace, here, LATELY),
    }
    return Region(
        request,
        "now",
        "batches/home_now.html",
        context,
        url=reverse("batches:home_live", args=[workspace.slug]),
        seconds=None if all(batch.final for batch in shown) else SECONDS,
        kept=",".join(map(str, here[:KEPT])),
    )
