import threading
from functools import partial

from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from batches.exporting import export, file_name
from batches.exporting_choice import Choice
from batches.exporting_rows import Outcome
from batches.views.chunks import stream
from batches.views.export import Wishes, render_export, why_not
from batches.views.finding import find_batch

TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


class ReaderLeft(Exception):
    """Nobody waits for the rest of the file."""


@require_GET
def download(request: HttpRequest, slug: str, batch: int) -> HttpResponseBase:
    found = find_batch(request, slug, batch)
    wishes = Wishes.read(request.GET, request.GET.getlist("row"))
    if wishes.problems:
        return render_export(request, found, wishes, status=422)
    if why_not(found):
        return render_export(request, found, wishes, status=409)
    left = threading.Event()
    wanted = partial(takes, wishes.choice, left)
    chunks = export(found, wishes.format, exact=wishes.exact, bom=wishes.bom, wanted=wanted)
    name = file_name(found, wishes.format, partial=not found.final)
    headers = {
        "Content-Disposition": content_disposition_header(True, name) or "",
        "Cache-Control": "no-store",
    }
    content = stream(chunks, f"the download of batch {found.pk}", left)
    return StreamingHttpResponse(content, content_type=TYPES[wishes.format], headers=headers)


def takes(choice: Choice, left: threading.Event, outcome: Outcome) -> bool:
    if left.is_set():
        raise ReaderLeft
    return choice.takes(outcome)
