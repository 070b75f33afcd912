"""The file that the ids of an adopted Batch fit: offered, and put beside its answers."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from batches import matching
from batches.models import Batch, Match
from batches.views.finding import MEMBER, find_batch
from leases.clock import database_now
from workspaces.live import Region

SECONDS = 3
MOVING = (Match.State.QUEUED, Match.State.CONFIRMED)


@require_http_methods(["GET", "HEAD", "POST"])
def match(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    found = find_batch(request, slug, batch, MEMBER)
    row = match_of(found)
    if request.method == "POST":
        if row is None or not matching.confirm(row, database_now(), request.user):  # type: ignore[arg-type]
            return ask(request, found, match_of(found), status=409)
        return redirect("batches:overview", slug=slug, batch=found.pk)
    return ask(request, found, row)


def ask(request: HttpRequest, batch: Batch, row: Match | None, status: int = 200) -> HttpResponse:
    context = {"batch": batch, "match": row, "form": "batches/match_form.html"}
    page = "match_form" if request.htmx else "asked"  # type: ignore[attr-defined]
    return render(request, f"batches/{page}.html", context, status=status)


@require_safe
def match_live(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """Once its rows are numbered anew all of the page is another one."""
    found = find_batch(request, slug, batch)
    row = match_of(found)
    if row is not None and row.state == Match.State.SHOWN:
        return HttpResponse(status=204, headers={"HX-Refresh": "true"})
    return region(request, found, row).answer()


def match_of(batch: Batch) -> Match | None:
    return Match.objects.select_related("upload", "batch").filter(batch=batch).first()


def match_region(request: HttpRequest, batch: Batch) -> Region | None:
    """For the overview; None of a Batch that was made here."""
    row = match_of(batch)
    return region(request, batch, row) if row else None


def region(request: HttpRequest, batch: Batch, row: Match | None) -> Region:
    context = {"batch": batch, "match": row}
    url = reverse("batches:match_live", args=[batch.workspace.slug, batch.pk])
    moving = row is not None and row.state in MOVING
    return Region(
        request,
        "match",
        "batches/match_offer.html",
        context,
        url=url,
        seconds=SECONDS if moving else None,
    )
