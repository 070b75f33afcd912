from typing import Any

from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from batches.cancelling import request_cancel
from batches.models import Batch, MessageBatch
from batches.views.finding import MEMBER, find_batch
from leases.clock import database_now

State = MessageBatch.State


@require_http_methods(["GET", "HEAD", "POST"])
def cancel(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """What would be canceled, in numbers; and the button that does it."""
    found = find_batch(request, slug, batch, MEMBER)
    if request.method == "POST":
        request_cancel(found, database_now(), request.user)  # type: ignore[arg-type]
        return redirect("batches:overview", slug=slug, batch=found.pk)
    context = {"batch": found, "form": "batches/cancel_form.html", **what_would_end(found)}
    page = "cancel_form" if request.htmx else "asked"  # type: ignore[attr-defined]
    return render(request, f"batches/{page}.html", context)


def what_would_end(batch: Batch) -> dict[str, Any]:
    open_parts = batch.message_batches.filter(
        state__in=MessageBatch.OPEN, cancel_requested_at=None
    ).exclude(processing_status="ended")
    unsent = open_parts.filter(state=State.QUEUED)
    return {
        "open_parts": open_parts.count(),
        "requests": open_parts.aggregate(sum=Sum("size"))["sum"] or 0,
        "unsent": unsent.count(),
        "unbuilt": batch.state == Batch.State.BUILDING,
    }
