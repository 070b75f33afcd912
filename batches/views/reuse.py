from urllib.parse import urlencode

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from batches.models import Batch, Upload
from batches.templatetags.batch_rows import may_open
from batches.views.finding import MEMBER, find_batch
from leases.clock import database_now


@require_POST
def reuse(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """Take a recipe over to a new file, or with `same_file` the file, too."""
    found = find_batch(request, slug, batch, MEMBER)
    if request.POST.get("same_file"):
        if copy := duplicate(request, found):
            step = "review" if may_open(copy, "review") else "recipe"
            return redirect(f"batches:{step}", slug=slug, batch=copy.pk)
        why = f"{found.upload} has no rows yet" if found.upload else "this batch has no file"
        messages.info(request, f"Only the recipe comes along: {why}.")
    new = reverse("batches:new", kwargs={"slug": slug})
    return redirect(f"{new}?{urlencode({'recipe': found.pk})}")


@transaction.atomic
def duplicate(request: HttpRequest, batch: Batch) -> Batch | None:
    """A draft of the same rows and the same recipe; nothing is sent before its own review.

    None where the file has no rows: one that arrives belongs to the draft that it arrives for.
    """
    ready = Upload.objects.filter(batches=batch, state=Upload.State.READY)
    upload = ready.select_for_update(of=("self",)).first()
    if upload is None:
        return None
    word = " (copy)"
    name = batch.name.removesuffix(word)
    return Batch.objects.create(
        workspace_id=batch.workspace_id,
        upload=upload,
        name=name[: 200 - len(word)] + word,
        labels=batch.labels,
        created_by_id=request.user.pk,
        recipe=batch.recipe,
        typed=batch.typed,
        leave_out=batch.leave_out,
        saved_at=database_now(),
    )
