from datetime import datetime

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_safe
from django_htmx.http import trigger_client_event

from batches.asking import about_the_key, looked_for, set_aside, undecided
from batches.figures import figures
from batches.first_answers import first_answers
from batches.models import Batch
from batches.pages import read_id
from batches.progress import Parts, Timing, delays, idle_since, incomplete_parts, refused_run
from batches.templatetags.batch_rows import step_of
from batches.views.finding import find_batch
from batches.views.match import match_region
from batches.waiting import say_vanishing, vanishing
from leases.clock import database_now
from workspaces.live import Region

SECONDS = 3
MOST = 5  # parts of a kind that are named


@require_safe
def overview(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """How far a Batch is, and what came of it; a draft is opened at its step."""
    found = find_batch(request, slug, batch)
    if found.is_draft:
        return redirect(f"batches:{step_of(found)}", slug=slug, batch=found.pk)
    context = {
        "batch": found,
        "progress": progress_of(request, found),
        "match": match_region(request, found),
    }
    return render(request, "batches/overview.html", context)


@require_safe
def overview_live(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """What has changed: the region, and beside it the head, the title and the news of the end."""
    found = find_batch(request, slug, batch)
    response = progress_of(request, found).answer()
    if response.status_code == 204:
        return response
    moved = request.GET.get("word") not in (None, found.state)
    beside = {"batch": found, "moved": moved}
    response.write(render_to_string("batches/overview_beside.html", beside, request))
    if moved and found.final:
        trigger_client_event(response, "say", {"value": how_it_ended(found)})
    return response


def progress_of(request: HttpRequest, batch: Batch) -> Region:
    at, parts = database_now(), batch.message_batches.all()
    context = {
        "batch": batch,
        "figures": figures(batch),
        "parts": Parts(batch, read_id(request.GET.get("part"))),
        "timing": Timing(batch, at),
        "idle_since": idle_since(batch, at),
        "refused_run": refused_run(batch),
        "looked_for": looked_for(batch),
        "undecided": list(undecided(batch)),
        "set_aside": list(set_aside(batch)),
        "about_the_key": (asked := list(about_the_key(batch))),
        "paused_until": None if asked else paused_until(batch, at),
        "delays": [] if asked else delays(batch),
        "incomplete": incomplete_parts(batch),
        "vanishing": [(part, say_vanishing(part, at)) for part in vanishing(parts, at)[:MOST]],
        "answers": first_answers(batch),
    }
    return Region(
        request,
        "progress",
        "batches/overview_progress.html",
        context,
        url=reverse("batches:overview_live", args=[batch.workspace.slug, batch.pk]),
        seconds=None if batch.final else SECONDS,
        word=batch.state,
    )


def paused_until(batch: Batch, at: datetime) -> datetime | None:
    """Until when the API has asked to be left alone, while something waits for it."""
    key = None if batch.final else batch.workspace.live_key()
    return key.paused_until if key and key.paused(at) else None


def how_it_ended(batch: Batch) -> str:
    if batch.state == Batch.State.REFUSED:
        return f"{batch.name} was not sent."
    return f"{batch.name} has ended: {batch.succeeded:,} of {batch.sent:,} succeeded."
