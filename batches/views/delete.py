from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from batches import deleting_remote
from batches.deleting import Obstacle, obstacle, request_delete, uncollected, uncollected_answers
from batches.models import Batch, Upload
from batches.views.finding import MEMBER, find_batch
from batches.words import count
from leases.clock import database_now


@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """What would be gone, in numbers; what was sent is deleted only by who types its number.

    Where paid answers are not here yet, their number is typed in its place.
    """
    found = find_batch(request, slug, batch, MEMBER)
    if request.method != "POST":
        return ask(request, found)
    stopped_by = obstacle(found)
    waived = uncollected_answers(found) if stopped_by == Obstacle.UNCOLLECTED else 0
    wanted = str(waived or found.pk)
    sure = found.is_draft or typed_number(request) == wanted
    if not sure and stopped_by in (None, Obstacle.UNCOLLECTED):
        return ask(request, found, 422, problem=f"Type {wanted} to delete it.")
    actor: Any = request.user
    remote = "remote" in request.POST
    if not request_delete(found, database_now(), actor, remote=remote, waived=waived):
        found.refresh_from_db()
        return ask(request, found, 422)
    messages.success(request, f"{found.name} (#{found.pk}) is deleted.")
    return redirect("batches:batches", slug=slug)


def typed_number(request: HttpRequest) -> str:
    return request.POST.get("confirm", "").strip().removeprefix("#").replace(",", "")


def ask(request: HttpRequest, batch: Batch, status: int = 200, problem: str = "") -> HttpResponse:
    stopped_by = obstacle(batch)
    there = deleting_remote.kept_there(batch, database_now())
    context = {
        "batch": batch,
        "form": "batches/delete_form.html",
        "problem": problem,
        "stopped_by": stopped_by,
        "undecided": batch.message_batches.filter(state=stopped_by).order_by("part").first(),
        "file_goes": is_alone(batch.upload, batch),
        "answers_go": batch.answered - batch.missing,
        "parts_there": there.count(),
        "kept_until": deleting_remote.kept_until(there),
        "remote": "remote" in request.POST if request.method == "POST" else is_ours(batch),
    }
    if stopped_by == Obstacle.UNCOLLECTED:
        parts = uncollected(batch).count()
        context |= {"lost_parts": parts, "lost_answers": uncollected_answers(batch)}
    page = "delete_form" if request.htmx else "asked"  # type: ignore[attr-defined]
    return render(request, f"batches/{page}.html", context, status=status)


def is_ours(batch: Batch) -> bool:
    """Whether it was made here: what a script made may be somebody else's to delete."""
    return not batch.message_batches.filter(run=None).exists()


def is_alone(upload: Upload | None, batch: Batch) -> bool:
    """Whether no other Batch uses the file."""
    return upload is not None and not upload.batches.exclude(pk=batch.pk).exists()


@require_http_methods(["GET", "HEAD", "POST"])
def delete_remote(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """Have the API forget a batch whose answers are here, and keep those."""
    found = find_batch(request, slug, batch, MEMBER)
    actor: Any = request.user
    if request.method == "POST":
        parts = deleting_remote.request_delete_remote(found, database_now(), actor)
        if parts:
            said = f"Being deleted at the API: {count(parts, 'part')} of {found.name}."
            messages.success(request, said)
            return redirect("batches:overview", slug=slug, batch=found.pk)
    there = deleting_remote.kept_there(found, database_now())
    context = {
        "batch": found,
        "form": "batches/delete_remote_form.html",
        "running": not found.final,
        "asked_for": found.delete_remote,
        "parts_there": there.count(),
        "kept_until": deleting_remote.kept_until(there),
    }
    page = "delete_remote_form" if request.htmx else "asked"  # type: ignore[attr-defined]
    status = 422 if request.method == "POST" else 200
    return render(request, f"batches/{page}.html", context, status=status)
