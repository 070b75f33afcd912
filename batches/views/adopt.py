"""Batches made elsewhere with the workspace's key: looked for when somebody asks, and adopted."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from batches import adopting
from batches.calling import live_key, why_no_key
from batches.deciding import CannotResolve
from batches.models import Batch, Listing, MessageBatch, Worker
from batches.models.worker import SILENT_AFTER
from batches.pages import read_id
from leases.clock import database_now
from workspaces.access import require, workspace_for
from workspaces.live import Region
from workspaces.models import Membership, Workspace

PER_PAGE = 100
SECONDS = 2


@require_http_methods(["GET", "HEAD", "POST"])
def adopt(request: HttpRequest, slug: str) -> HttpResponse:
    """What was found, newest first; a POST looks again, or adopts what was chosen."""
    if request.method != "POST":
        return show(request, workspace_for(request, slug))
    workspace = require(request, slug, Membership.Role.MEMBER)
    if "look" in request.POST:
        if live_key(workspace) is None:
            return show(request, workspace, [why_no_key(workspace)], status=422)
        Listing.ask(workspace, database_now(), request.user)  # type: ignore[arg-type]
        return redirect("batches:adopt", slug=slug)
    return adopt_chosen(request, workspace, request.POST.getlist("id")[:PER_PAGE])


def adopt_chosen(request: HttpRequest, workspace: Workspace, chosen: list[str]) -> HttpResponse:
    adopted: list[Batch] = []
    problems = [] if chosen else ["Choose what to adopt."]
    for id in dict.fromkeys(chosen):
        try:
            adopted.append(adopting.adopt(workspace, id, database_now(), request.user))  # type: ignore[arg-type]
        except CannotResolve as why:
            problems.append(str(why))
    if problems:
        return show(request, workspace, problems, adopted, status=422)
    if len(adopted) == 1:
        return redirect("batches:overview", slug=workspace.slug, batch=adopted[0].pk)
    messages.info(request, f"{len(adopted)} batches adopted.")
    return redirect("batches:batches", slug=workspace.slug)


@require_safe
def adopt_live(request: HttpRequest, slug: str) -> HttpResponse:
    """How far a worker is with the list; once it is whole, the page is loaded anew."""
    workspace = workspace_for(request, slug)
    listing = Listing.objects.filter(workspace=workspace).first()
    if listing is not None and listing.state == Listing.State.LISTING:
        return progress(request, workspace, listing).answer()
    return HttpResponse(status=204, headers={"HX-Refresh": "true"})


def progress(request: HttpRequest, workspace: Workspace, listing: Listing) -> Region:
    at = database_now()
    waits = not listing.fence and listing.asked_at < at - SILENT_AFTER
    context = {"listing": listing, "nobody_works": waits and not Worker.objects.alive(at).exists()}
    url = reverse("batches:adopt_live", args=[workspace.slug])
    name, template = "adopt-progress", "batches/adopt_progress.html"
    return Region(request, name, template, context, url=url, seconds=SECONDS)


def show(
    request: HttpRequest,
    workspace: Workspace,
    problems: list[str] | None = None,
    adopted: list[Batch] | None = None,
    status: int = 200,
) -> HttpResponse:
    listing = Listing.objects.filter(workspace=workspace).first()
    context: dict[str, Any] = {
        "workspace": workspace,
        "listing": listing,
        "problems": problems or [],
        "adopted": adopted or [],
        "obstacle": "" if live_key(workspace) else why_no_key(workspace),
        "chosen": request.POST.getlist("id"),
        "most": adopting.MOST_FOUND,
    }
    if listing is not None and listing.state == Listing.State.LISTING:
        context["region"] = progress(request, workspace, listing)
    elif listing is not None:
        context |= page_of(listing, read_id(request.GET.get("from")) or 0)
    return render(request, "batches/adopt.html", context, status=status)


def page_of(listing: Listing, start: int) -> dict[str, Any]:
    """A page of what is still nobody's, each with the part that it is."""
    found = list(adopting.not_adopted(listing))
    shown = found[start : start + PER_PAGE]
    parts = adopting.parts_by_id(shown)
    looked_for = MessageBatch.objects.filter(pk__in=listing.looked_for, message_batch_id=None)
    return {
        "lines": [(one, parts.get(one.part), one.why_not()) for one in shown],
        "total": len(found),
        "newer": max(start - PER_PAGE, 0) if start else None,
        "older": start + PER_PAGE if len(found) > start + PER_PAGE else None,
        "looked_for": looked_for.select_related("batch"),
    }
