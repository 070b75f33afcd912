from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from batches.deleting import request_delete
from batches.models import Batch, Upload
from batches.views.finding import MEMBER, find_batch
from leases.clock import database_now


@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """What would be gone, in numbers; what was sent is deleted only by who types its number."""
    found = find_batch(request, slug, batch, MEMBER)
    if request.method != "POST":
        return ask(request, found)
    typed = request.POST.get("confirm", "").strip().removeprefix("#")
    if not found.is_draft and found.final and typed != str(found.pk):
        return ask(request, found, f"Type {found.pk} to delete it.", 422)
    if not request_delete(found, database_now(), request.user):  # type: ignore[arg-type]
        found.refresh_from_db()
        return ask(request, found, status=422)
    messages.success(request, f"{found.name} (#{found.pk}) is deleted.")
    return redirect("batches:batches", slug=slug)


def ask(request: HttpRequest, batch: Batch, problem: str = "", status: int = 200) -> HttpResponse:
    context = {
        "batch": batch,
        "form": "batches/delete_form.html",
        "problem": problem,
        "running": not (batch.is_draft or batch.final),
        "file_goes": is_alone(batch.upload, batch),
        "answers_go": batch.answered - batch.missing,
    }
    page = "delete_form" if request.htmx else "asked"  # type: ignore[attr-defined]
    return render(request, f"batches/{page}.html", context, status=status)


def is_alone(upload: Upload | None, batch: Batch) -> bool:
    """Whether no other Batch uses the file."""
    return upload is not None and not upload.batches.exclude(pk=batch.pk).exists()
