"""What becomes of a part that nobody knows the outcome of; and what was set aside goes on."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from batches import deciding
from batches.asking import last_refusal, row_range, set_aside
from batches.costing import at_most, share
from batches.deciding import CannotResolve
from batches.models import Batch, MessageBatch
from batches.templatetags.batch_rows import batch_url
from batches.views.finding import MEMBER, VIEWER, find_batch
from batches.words import count
from leases.clock import database_now
from workspaces.models import ApiKey

if TYPE_CHECKING:
    from django.contrib.auth.models import User

State = MessageBatch.State
Answer = Callable[[HttpRequest, MessageBatch, datetime, "User"], str]
ANSWERED_MEANWHILE = "It was answered meanwhile. This is how it stands now."
VERDICTS = {True: "ours", False: "not ours", None: "nothing tells yet whose it is"}


@require_http_methods(["GET", "HEAD", "POST"])
def decide(request: HttpRequest, slug: str, batch: int, part: int) -> HttpResponse:
    """What is known of the part, and each way out with what it costs."""
    found = find_batch(request, slug, batch, MEMBER if request.method == "POST" else VIEWER)
    asked: MessageBatch = get_object_or_404(found.message_batches.visible(), pk=part)
    answer = ANSWERS.get(request.POST.get("answer", ""))
    if answer is None:
        return ask(request, asked, 422 if request.method == "POST" else 200)
    if request.POST.get("seen", as_seen(asked)) != as_seen(asked):
        return ask(request, asked, 422, ANSWERED_MEANWHILE)
    try:
        said = answer(request, asked, database_now(), request.user)  # type: ignore[arg-type]
    except CannotResolve as why:
        asked.refresh_from_db()
        return ask(request, asked, 422, str(why))
    messages.success(request, said)
    return redirect("batches:overview", slug=slug, batch=found.pk)


def as_seen(part: MessageBatch) -> str:
    """What of a part an answer changes: the form carries it, so that the second of two is told."""
    return f"{part.state} {part.adopt_id} {'left' if part.was_left else ''}".strip()


def ask(request: HttpRequest, part: MessageBatch, status: int, problem: str = "") -> HttpResponse:
    answer = request.POST.get("answer", "")
    has_field = part.state == State.UNKNOWN and answer in ("adopt", "send_again")
    context = {
        "batch": part.batch,
        "part": part,
        "form": "batches/decide_form.html",
        "problem": problem,
        "at_field": bool(problem) and has_field and problem != ANSWERED_MEANWHILE,
        "answer": answer,
        "typed": request.POST,
        "seen": as_seen(part),
        "rows": row_range(part),
        "refusal": last_refusal(part),
        "candidates": [told(one) for one in part.candidates],
        "open": part.state == State.UNKNOWN or part.turned_up is not None,
        **costs(part),
    }
    page = "decide_form" if request.htmx else "asked"  # type: ignore[attr-defined]
    return render(request, f"batches/{page}.html", context, status=status)


def told(candidate: dict[str, Any]) -> dict[str, Any]:
    at = datetime.fromisoformat(candidate["created_at"])
    return {**candidate, "verdict": VERDICTS[candidate["ours"]], "created_at": at}


def costs(part: MessageBatch) -> dict[str, Any]:
    """What sending it once costs at most, where that was estimated."""
    estimate = share(part.run, part.size)
    return {
        "most": at_most(Decimal(estimate["most"])) if estimate else "",
        "sandboxed": part.api == ApiKey.Api.SANDBOX,
        "until": part.unknown_at + deciding.WATCHED if part.unknown_at else None,
    }


def adopt(request: HttpRequest, part: MessageBatch, at: datetime, actor: "User") -> str:
    typed = request.POST.get("other", "").strip() or request.POST.get("candidate", "")
    deciding.ask_to_adopt(part, typed, at, actor)
    return f"The API is asked whether {typed} is part {part.part:,}."


def send_again(request: HttpRequest, part: MessageBatch, at: datetime, actor: "User") -> str:
    typed = request.POST.get("confirm", "").strip().replace(",", "")
    if typed != str(part.size):
        raise CannotResolve(f"Type {part.size} to send it again.")
    deciding.send_again(part, at, actor)
    return f"Part {part.part:,} is sent again as a new one."


def drop(request: HttpRequest, part: MessageBatch, at: datetime, actor: "User") -> str:
    deciding.drop(part, at, actor)
    return f"Part {part.part:,} is dropped: {count(part.size, 'row')} not sent."


def keep(request: HttpRequest, part: MessageBatch, at: datetime, actor: "User") -> str:
    return take(part, at, actor, cancel=False)


def cancel(request: HttpRequest, part: MessageBatch, at: datetime, actor: "User") -> str:
    return take(part, at, actor, cancel=True)


def take(part: MessageBatch, at: datetime, actor: "User", *, cancel: bool) -> str:
    found = part.turned_up
    if found is None:
        raise CannotResolve(f"Nothing of part {part.part} waits for an answer.")
    deciding.ask_to_adopt(part, found["id"], at, actor, cancel=cancel)
    then = "canceled at the API" if cancel else "kept"
    return f"{found['id']} is taken as part {part.part:,} and {then}."


def leave(request: HttpRequest, part: MessageBatch, at: datetime, actor: "User") -> str:
    deciding.leave(part, at, actor)
    return f"What turned up of part {part.part:,} is left at the API."


ANSWERS: dict[str, Answer] = {
    "adopt": adopt,
    "send_again": send_again,
    "drop": drop,
    "keep": keep,
    "cancel": cancel,
    "leave": leave,
}


@require_http_methods(["GET", "HEAD", "POST"])
def start_again(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """What stopped three workers is tried once more."""
    found = find_batch(request, slug, batch, MEMBER)
    if request.method != "POST":
        asides = list(set_aside(found))
        context = {"batch": found, "form": "batches/start_again_form.html", "asides": asides}
        page = "start_again_form" if request.htmx else "asked"  # type: ignore[attr-defined]
        return render(request, f"batches/{page}.html", context)
    if deciding.start_all_again(found, database_now(), request.user):  # type: ignore[arg-type]
        messages.success(request, "Started again.")
    return redirect(batch_url(Batch.objects.get(pk=found.pk), slug))
