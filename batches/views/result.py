from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from batches.exporting_rows import Ours
from batches.grouping import advise, way_of
from batches.json_text import indent
from batches.live_request import LiveRequest
from batches.models import Batch, Result
from batches.opening import Opened, neighbours, open_row
from batches.reading import LAST_ROW, Filter
from batches.retry_review import can_retry
from batches.retrying import SETTLED
from batches.views.answer_links import query_without, with_query
from batches.views.finding import find_batch


@require_safe
def result(request: HttpRequest, slug: str, batch: int, row: int) -> HttpResponse:
    """One row: a page of its own, or what htmx puts into the drawer."""
    found = find_batch(request, slug, batch)
    opened = open_row(found, row) if row <= LAST_ROW else None
    if opened is None:
        raise Http404("the file has no such row")
    if raw := request.GET.get("raw"):
        return send_raw(opened, raw)
    chosen = Filter.read(request.GET)
    context = {
        "batch": found,
        "workspace": found.workspace,
        "opened": opened,
        "blocks": opened.blocks(),
        "unknown": indent(opened.outcome.line) if is_of_a_later_type(opened) else "",
        "plain": "plain" in request.GET,
        "advice": find_advice(opened),
        "way": find_way(found, opened),
        "retry_query": urlencode({"row": row}),
        "sent": indent(opened.sent()),
        "live": LiveRequest.of(opened.sent()),
        "raw_url": f"{request.path}?raw=answer",
        "raw_request_url": f"{request.path}?raw=request",
        **make_links(request, found, chosen, row),
    }
    # Htmx asks for the drawer only: where it goes through the history it wants the page.
    in_drawer = request.htmx and request.htmx.target == "drawer"  # type: ignore[attr-defined]
    return render(request, f"batches/{'result_row' if in_drawer else 'result'}.html", context)


def is_of_a_later_type(opened: Opened) -> bool:
    """Than this program: what came is all that can be shown of it."""
    answered = opened.outcome.answer is not None
    return answered and opened.outcome.type not in Result.Type.values


def find_advice(opened: Opened) -> Any:
    found = opened.result
    return advise(found.type, found.concern) if found and opened.outcome.answer else None


def find_way(batch: Batch, opened: Opened) -> str:
    """How the row may be sent once more; empty while its part is not done, or where it may not."""
    if not can_retry(batch) or opened.part is None:
        return ""
    if opened.outcome.type == Ours.NOT_SENT:
        return "retry"
    found = opened.result
    if found is None or opened.part.state not in SETTLED:
        return ""
    return way_of(found.type, found.concern)


def make_links(request: HttpRequest, batch: Batch, chosen: Filter, row: int) -> dict[str, Any]:
    before, after = neighbours(batch, chosen, row)
    query = query_without(request, "plain", "raw")
    # Only these two lead to a row and list others like it.
    back = "problems" if request.GET.get("back") == "problems" else "results"
    url = reverse(f"batches:{back}", args=[batch.workspace.slug, batch.pk])
    return {
        "back": back,
        "back_url": with_query(url, query) if back == "results" else url,
        "before": before,
        "after": after,
        "query": with_query("", query),
        "plain_url": with_query(request.path, query | {"plain": 1}),
        "marked_url": with_query(request.path, query),
    }


def send_raw(opened: Opened, which: str) -> HttpResponse:
    """The line of the archive, byte for byte, as a file of text that no browser runs."""
    data = {"answer": opened.outcome.line, "request": opened.sent()}.get(which)
    if not data:
        raise Http404("nothing is stored of it")
    response = HttpResponse(data, content_type="text/plain; charset=utf-8")
    name = f"row-{opened.number}-{which}.json"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
