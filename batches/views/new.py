import re
import secrets
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from batches import receiving, starting
from batches.models import Batch, Upload
from batches.pages import read_id
from batches.planning import Selection
from batches.receiving import Announcement, Refused
from batches.recipe import Recipe
from batches.views.upload import find_recipe
from leases.clock import database_now
from workspaces.access import require
from workspaces.models import Membership, Workspace

EXAMPLE = Path(settings.BASE_DIR) / "examples" / "reviews.csv"
EXAMPLE_RECIPE = Recipe(
    model="claude-haiku-4-5",
    prompt=(
        "A customer reviewed our product “{{product}}” in the language {{language}}:\n\n"
        "{{review}}\n\nName the theme of this review in English, in one to three words."
    ),
    max_tokens=200,
    id_column="id",
)
EARLIER = 5


@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest, slug: str) -> HttpResponse:
    """A file, an earlier one, or the example becomes a draft."""
    workspace = require(request, slug, Membership.Role.MEMBER)
    like = find_recipe(workspace, read_id(request.POST.get("recipe") or request.GET.get("recipe")))
    token = secrets.token_urlsafe(16)
    context: dict[str, Any] = {
        "workspace": workspace,
        "batch": None,
        "like": like,
        "token": token,
    }
    status = 200
    if request.method == "POST":
        try:
            batch = make_draft(request, workspace, like)
        except Refused as refusal:
            context["problem"], status = str(refusal), 422
        else:
            return redirect("batches:file", slug=slug, batch=batch.pk)
    context["earlier"] = earlier_uploads(workspace)
    return render(request, "batches/new.html", context, status=status)


def make_draft(request: HttpRequest, workspace: Workspace, like: Batch | None) -> Batch:
    if request.POST.get("example"):
        return draft_example(request, workspace)
    if request.POST.get("upload"):
        return draft_over(request, workspace, like)
    upload = receive_form(request, workspace, like=like)
    batch = upload.batches.filter(deleting_at=None).order_by("pk").first()
    if batch is None:
        raise Refused("The draft of this file was deleted. Choose the file again.")
    return batch


def receive_form(
    request: HttpRequest,
    workspace: Workspace,
    *,
    like: Batch | None = None,
    replacing: Batch | None = None,
) -> Upload:
    """The file of a form, sent whole by a browser without scripts. Raises Refused."""
    file = request.FILES.get("file")
    if file is None or not file.size:
        raise Refused("Choose a file that is not empty.")
    if file.size > receiving.PIECE_LIMIT:
        raise Refused(
            "Without JavaScript a file may have 8 MB. Turn JavaScript on to send larger ones, "
            "or split the file."
        )
    token = request.POST.get("token", "")
    if not re.fullmatch(receiving.TOKEN, token):
        token = secrets.token_urlsafe(16)
    announced = Announcement(file.name or "", file.size, token)
    actor, at = request.user, database_now()
    upload = receiving.begin(
        announced,
        workspace,
        actor,  # type: ignore[arg-type]
        at,
        like=like,
        replacing=replacing,
    )
    if upload.state == Upload.State.RECEIVING:
        receiving.append(upload, 0, file, at)
    return upload


def draft_over(request: HttpRequest, workspace: Workspace, like: Batch | None) -> Batch:
    """A draft over a file that is here already; 404 for one of another workspace."""
    ready = Upload.objects.filter(workspace=workspace, state=Upload.State.READY)
    with transaction.atomic():
        held = ready.select_for_update()
        upload = get_object_or_404(held, pk=read_id(request.POST.get("upload")))
        return starting.draft(
            upload,
            receiving.name_batch(upload.filename),
            None,
            like=like,
            created_by=request.user,
            saved_at=database_now(),
        )


def draft_example(request: HttpRequest, workspace: Workspace) -> Batch:
    """Two hundred reviews with a recipe, in parts so small that one sees them end."""
    at = database_now()
    upload = starting.receive(EXAMPLE, workspace, at, actor=request.user)  # type: ignore[arg-type]
    return starting.draft(
        upload,
        "Review themes",
        EXAMPLE_RECIPE,
        created_by=request.user,
        saved_at=at,
        selection=msgspec.to_builtins(Selection(part_size=50)),
    )


def earlier_uploads(workspace: Workspace) -> list[Upload]:
    """The last files that were read, each once."""
    ready = Upload.objects.filter(workspace=workspace, state=Upload.State.READY)
    found: dict[tuple[str, str], Upload] = {}
    for upload in ready.order_by("-pk")[: 4 * EARLIER]:
        found.setdefault((upload.sha256, upload.filename), upload)
    return list(found.values())[:EARLIER]
