"""One part: what the API says of it, what was counted in its results, and what can be done."""

from datetime import datetime
from typing import Any

import msgspec
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from batches.collecting import RESULTS_KEPT
from batches.models import MessageBatch
from batches.submitting import read_created
from batches.views.finding import MEMBER, VIEWER, find_batch
from batches.waiting import (
    CannotCollect,
    collect_again,
    missing_answers,
    stop_waiting,
    why_not_collect,
    why_not_stop,
)
from batches.words import count
from leases.clock import database_now
from workspaces.live import Region

SECONDS = 3


def find_part(
    request: HttpRequest, slug: str, batch: int, part: int, role: str = VIEWER
) -> MessageBatch:
    found = find_batch(request, slug, batch, role)
    asked: MessageBatch = get_object_or_404(found.message_batches.visible(), pk=part)
    asked.batch = found
    return asked


@require_safe
def part(request: HttpRequest, slug: str, batch: int, part: int) -> HttpResponse:
    return show(request, find_part(request, slug, batch, part))


@require_safe
def part_live(request: HttpRequest, slug: str, batch: int, part: int) -> HttpResponse:
    return facts_of(request, find_part(request, slug, batch, part)).answer()


@require_POST
def part_collect(request: HttpRequest, slug: str, batch: int, part: int) -> HttpResponse:
    found = find_part(request, slug, batch, part, MEMBER)
    try:
        collect_again(found, database_now(), request.user)  # type: ignore[arg-type]
    except CannotCollect as why:
        found.refresh_from_db()
        return show(request, found, str(why), 422)
    messages.success(request, f"Part {found.part} is collected again.")
    return redirect("batches:part", slug=slug, batch=batch, part=part)


@require_http_methods(["GET", "HEAD", "POST"])
def part_stop(request: HttpRequest, slug: str, batch: int, part: int) -> HttpResponse:
    """What would be done without; only whoever types how many answers that is stops the waiting."""
    found = find_part(request, slug, batch, part, MEMBER)
    missing = missing_answers(found)
    if request.method != "POST":
        return ask(request, found)
    if request.POST.get("confirm", "").strip().replace(",", "") != str(missing):
        return ask(request, found, f"Type {missing} to stop waiting.", 422)
    try:
        stop_waiting(found, database_now(), request.user)  # type: ignore[arg-type]
    except CannotCollect as why:
        found.refresh_from_db()
        return ask(request, found, str(why), 422)
    messages.success(request, f"{count(missing, 'answer')} of part {found.part} will be missing.")
    return redirect("batches:part", slug=slug, batch=batch, part=part)


def ask(request: HttpRequest, part: MessageBatch, problem: str = "", status: int = 200) -> Any:
    context = {
        "batch": part.batch,
        "part": part,
        "form": "batches/part_stop_form.html",
        "missing": missing_answers(part),
        "why_not": why_not_stop(part),
        "kept_until": kept_until(part),
        "problem": problem,
    }
    page = "part_stop_form" if request.htmx else "asked"  # type: ignore[attr-defined]
    return render(request, f"batches/{page}.html", context, status=status)


def show(
    request: HttpRequest, part: MessageBatch, problem: str = "", status: int = 200
) -> HttpResponse:
    context = {
        "batch": part.batch,
        "part": part,
        "facts": facts_of(request, part),
        "problem": problem,
        "may_collect": not why_not_collect(part, database_now()),
        "may_stop": not why_not_stop(part),
    }
    return render(request, "batches/part.html", context, status=status)


def facts_of(request: HttpRequest, part: MessageBatch) -> Region:
    context = {
        "batch": part.batch,
        "part": part,
        "proof": part.proof,
        "why_not": why_not_collect(part, database_now()),
        "request_id": request_id(part),
        "kept_until": kept_until(part),
    }
    address = part.batch.workspace.slug, part.batch_id, part.pk
    return Region(
        request,
        "part-facts",
        "batches/part_facts.html",
        context,
        url=reverse("batches:part_live", args=address),
        seconds=SECONDS if part.state in part.OPEN or part.due_at else None,
    )


def kept_until(part: MessageBatch) -> datetime | None:
    """When the API deletes the results."""
    return part.created_at + RESULTS_KEPT if part.created_at else None


def request_id(part: MessageBatch) -> str:
    """The API's name of the call that created the part, from the journal of its answer."""
    try:
        created = read_created(part)
    except (OSError, msgspec.MsgspecError):
        return ""
    return created.request_id if created else ""
