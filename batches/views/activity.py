from collections.abc import Iterator
from datetime import date
from itertools import groupby
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from batches.models import Batch
from batches.pages import read_id
from batches.views.finding import find_batch
from workspaces.models import Event

PER_PAGE = 100
# What only a person does; without an actor it was done from a shell.
BY_HAND = ("run", "cancel", "renamed", "adopt", "adopted", "match", "left", "again")


@require_safe
def activity(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """What happened to a Batch, in words, the newest first."""
    found = find_batch(request, slug, batch)
    before = read_id(request.GET.get("before"))
    events = Event.objects.filter(workspace_id=found.workspace_id, subject=f"batch:{found.pk}")
    if before is not None:
        events = events.filter(pk__lt=before)
    page = list(events.select_related("actor").order_by("-pk")[: PER_PAGE + 1])
    shown = page[:PER_PAGE]
    context = {
        "batch": found,
        "days": list(by_day(found, shown)),
        "older": shown[-1].pk if len(page) > PER_PAGE else None,
        "turned": before is not None,
        "by_hand": BY_HAND,
    }
    return render(request, "batches/activity.html", context)


def by_day(batch: Batch, events: list[Event]) -> Iterator[tuple[date, list[Event]]]:
    """In the days of the workspace."""
    zone = ZoneInfo(batch.workspace.timezone)
    for day, found in groupby(events, key=lambda event: event.at.astimezone(zone).date()):
        yield day, list(found)
