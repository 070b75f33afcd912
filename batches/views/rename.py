from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from batches.models import Batch
from batches.templatetags.batch_rows import step_of
from batches.views.finding import MEMBER, find_batch
from claude_api.tolerant import clean
from leases.clock import database_now

LONGEST = 200


@require_http_methods(["GET", "HEAD", "POST"])
def rename(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    found = find_batch(request, slug, batch, MEMBER)
    if request.method != "POST":
        return ask(request, found, found.name)
    name = " ".join(clean(request.POST.get("name", "")).split())
    problem = why_not(name)
    if problem:
        return ask(request, found, name, problem)
    if name != found.name:
        said = f"Renamed from {found.name} to {name}."
        with transaction.atomic():
            Batch.objects.filter(pk=found.pk).update(name=name, saved_at=database_now())
            found.record("renamed", said, actor=request.user)  # type: ignore[arg-type]
    page = step_of(found) if found.is_draft else "overview"
    return redirect(f"batches:{page}", slug=slug, batch=found.pk)


def why_not(name: str) -> str:
    if not name:
        return "Give it a name."
    if len(name) > LONGEST:
        return f"At most {LONGEST} characters; this one has {len(name):,}."
    return ""


def ask(request: HttpRequest, batch: Batch, name: str, problem: str = "") -> HttpResponse:
    context = {
        "batch": batch,
        "form": "batches/rename_form.html",
        "name": name,
        "longest": LONGEST,
        "problem": problem,
    }
    page = "rename_form" if request.htmx else "asked"  # type: ignore[attr-defined]
    return render(request, f"batches/{page}.html", context, status=422 if problem else 200)
