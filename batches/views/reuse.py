from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from batches.models import Batch
from batches.templatetags.batch_rows import may_open
from batches.views.finding import MEMBER, find_batch
from leases.clock import database_now


@require_POST
def reuse(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """Take a recipe over to a new file, or with `same_file` the file, too."""
    found = find_batch(request, slug, batch, MEMBER)
    if request.POST.get("same_file") and found.upload_id:
        copy = duplicate(request, found)
        step = "review" if may_open(copy, "review") else "recipe"
        return redirect(f"batches:{step}", slug=slug, batch=copy.pk)
    new = reverse("batches:new", kwargs={"slug": slug})
    return redirect(f"{new}?{urlencode({'recipe': found.pk})}")


def duplicate(request: HttpRequest, batch: Batch) -> Batch:
    """A draft of the same rows and the same recipe; nothing is sent before its own review."""
    word = " (copy)"
    name = batch.name.removesuffix(word)
    return Batch.objects.create(
        workspace_id=batch.workspace_id,
        upload=batch.upload,
        name=name[: 200 - len(word)] + word,
        labels=batch.labels,
        created_by_id=request.user.pk,
        recipe=batch.recipe,
        typed=batch.typed,
        leave_out=batch.leave_out,
        saved_at=database_now(),
    )
