"""A file from the browser, in pieces of up to 8 MB: announced, sent, asked about, cancelled."""

import msgspec
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from batches import receiving
from batches.models import Batch, Upload
from batches.receiving import Announcement, NoRoom, OutOfStep, Refused, TooLarge
from batches.views.finding import find_batch, find_upload
from leases.clock import database_now
from workspaces.access import require
from workspaces.models import Membership, Workspace

STATUSES = {OutOfStep: 409, TooLarge: 413, NoRoom: 507}


@require_POST
def uploads(request: HttpRequest, slug: str) -> HttpResponse:
    """Announce a file; the same token answers with the same upload."""
    workspace = require(request, slug, Membership.Role.MEMBER)
    try:
        file = msgspec.json.decode(request.body, type=Announcement)
    except msgspec.MsgspecError as error:
        return JsonResponse({"error": f"This is no announcement of a file: {error}"}, status=422)
    replacing = find_batch(request, slug, file.batch) if file.batch is not None else None
    like = find_recipe(workspace, file.recipe)
    try:
        upload = receiving.begin(
            file,
            workspace,
            request.user,  # type: ignore[arg-type]
            database_now(),
            like=like,
            replacing=replacing,
        )
    except Refused as refusal:
        return JsonResponse({"error": str(refusal)}, status=status_of(refusal))
    return JsonResponse(describe(upload, slug), status=201)


@require_http_methods(["GET", "PUT", "DELETE"])
def upload(request: HttpRequest, slug: str, upload: int) -> HttpResponse:
    found = find_upload(request, slug, upload)
    refused: dict[str, str] = {}
    status = 200
    try:
        if request.method == "DELETE":
            return JsonResponse({"next": after_cancelling(receiving.cancel(found), slug)})
        if request.method == "PUT":
            receiving.append(found, read_offset(request), request, database_now())
    except Refused as refusal:
        refused, status = {"error": str(refusal)}, status_of(refusal)
        found.refresh_from_db()
    except Upload.DoesNotExist:
        raise Http404("the upload was cancelled") from None
    return JsonResponse({**describe(found, slug), **refused}, status=status)


def find_recipe(workspace: Workspace, batch: int | None) -> Batch | None:
    """The Batch of this workspace whose recipe a new draft is to have."""
    if batch is None:
        return None
    return Batch.objects.filter(workspace=workspace, deleting_at=None, pk=batch).first()


def read_offset(request: HttpRequest) -> int:
    text = request.headers.get("Upload-Offset", "")
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise Refused("Upload-Offset says at which byte the piece begins.")
    return int(text)


def status_of(refusal: Refused) -> int:
    return STATUSES.get(type(refusal), 422)


def describe(upload: Upload, slug: str) -> dict[str, object]:
    """Where the next piece goes, and where the person goes once the last one is here."""
    batch = upload.batches.order_by("pk").first()
    place = {"slug": slug}
    return {
        "state": upload.state,
        "name": upload.filename,
        "size": upload.size,
        "received": upload.received,
        "upload": reverse("batches:upload", kwargs={**place, "upload": upload.pk}),
        "file": reverse("batches:file", kwargs={**place, "batch": batch.pk}) if batch else "",
        "batch": batch.pk if batch else None,
    }


def after_cancelling(batch: Batch | None, slug: str) -> str:
    if batch is None:
        return reverse("batches:new", kwargs={"slug": slug})
    return reverse("batches:file", kwargs={"slug": slug, "batch": batch.pk})
