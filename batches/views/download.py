import logging
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from batches.exporting import export, file_name
from batches.exporting_choice import Choice
from batches.exporting_rows import Outcome
from batches.models import Batch
from batches.views.export import Wishes, render_export, why_not
from batches.views.finding import find_batch

TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
logger = logging.getLogger(__name__)


class ReaderLeft(Exception):
    """Nobody waits for the rest of the file."""


@require_GET
def download(request: HttpRequest, slug: str, batch: int) -> HttpResponseBase:
    found = find_batch(request, slug, batch)
    wishes = Wishes.read(request.GET)
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
    content = stream(found, chunks, left)
    return StreamingHttpResponse(content, content_type=TYPES[wishes.format], headers=headers)


def takes(choice: Choice, left: threading.Event, outcome: Outcome) -> bool:
    if left.is_set():
        raise ReaderLeft
    return choice.takes(outcome)


async def stream(
    batch: Batch, chunks: Iterator[bytes], left: threading.Event
) -> AsyncIterator[bytes]:
    """The chunks as they are asked for, each made in the thread of the request.

    What breaks on the way is raised: the connection then ends without the end of a body, and no
    browser takes what came for the whole file.
    """
    try:
        while (chunk := await sync_to_async(read_chunk)(chunks)) is not None:
            yield chunk
    except Exception:
        logger.exception("the download of batch %s broke off", batch.pk)
        raise
    finally:
        left.set()
        await sync_to_async(close_old_connections)()


def read_chunk(chunks: Iterator[bytes]) -> bytes | None:
    return next(chunks, None)
