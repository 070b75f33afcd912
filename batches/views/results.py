from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from batches import input_columns
from batches.models import Batch
from batches.reading import Filter, read_page, read_row_number
from batches.retry_review import can_retry
from batches.searching import LONGEST, search
from batches.views.answer_links import make_chips, make_links, query_without, with_query
from batches.views.finding import MEMBER, VIEWER, find_batch


@require_http_methods(["GET", "HEAD", "POST"])
def results(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """The answers of a Batch; a POST keeps which columns of the file stand beside them."""
    found = find_batch(request, slug, batch, MEMBER if request.method == "POST" else VIEWER)
    if found.is_draft:
        return redirect("batches:overview", slug=slug, batch=batch)
    if request.method == "POST":
        input_columns.keep(found, request.POST.getlist("columns"))
        return redirect(with_query(request.path, query_without(request, "columns")))
    if "answered" in request.GET:
        return more_answers(request, found)
    return render(request, "batches/results.html", read_answers(request, found))


def read_answers(request: HttpRequest, batch: Batch) -> dict[str, Any]:
    chosen = Filter.read(request.GET)
    text = request.GET.get("q", "").replace("\x00", "").strip()[:LONGEST]
    start = read_row_number(request.GET.get("from")) or 0
    page = search(batch, chosen, text, start) if text else read_page(batch, chosen, start)
    columns = input_columns.choose(batch, request.GET.getlist("columns"))
    cells = input_columns.read_cells(batch, columns, [one.row for one in page.results])
    return {
        "batch": batch,
        "workspace": batch.workspace,
        "chosen": chosen,
        "q": text,
        "start": start,
        "page": page,
        "lines": [(one, cells.get(one.row, [""] * len(columns))) for one in page.results],
        "columns": columns,
        "all_columns": input_columns.known_columns(batch),
        "chips": make_chips(request, batch, chosen),
        "links": make_links(request, page),
        "total": chosen.count(batch),
        "retries": can_retry(batch),
        # A search is bounded by time: what it found is not all that there is.
        "retry_all": chosen.query if chosen != Filter(type="succeeded") and not text else "",
        "row_query": with_query("", chosen.parameters()),
        "kept": query_without(request, "q", "from").items(),
    }


def more_answers(request: HttpRequest, batch: Batch) -> HttpResponse:
    """How many answers have come in since the page was read; 204 where that was told already."""
    seen = read_row_number(request.GET["answered"]) or 0
    told = read_row_number(request.GET.get("told")) or seen
    if told == batch.answered and not batch.final:
        return HttpResponse(status=204)
    more = max(batch.answered - seen, 0)
    return render(
        request, "batches/results_live.html", {"batch": batch, "seen": seen, "more": more}
    )
