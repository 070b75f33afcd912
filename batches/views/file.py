"""The file of a Batch: how far it is, how it is read, what is wrong with it, its first rows."""

import secrets
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from batches import archive, receiving, starting
from batches.first_rows import describe_columns, first_rows, whole_row
from batches.models import Batch, Upload, Worker
from batches.models.worker import SILENT_AFTER
from batches.pages import read_id
from batches.parsing import encodings
from batches.parsing.difference import find_difference, is_marked
from batches.problem_table import write_problems
from batches.receiving import Refused
from batches.rereading import read_otherwise
from batches.views.chunks import stream
from batches.views.finding import MEMBER, find_batch
from batches.views.new import receive_form
from batches.views.upload import after_cancelling
from batches.words import count
from claude_api.tolerant import clean
from leases.clock import database_now
from leases.models import CRASH_LIMIT
from workspaces.access import may
from workspaces.live import Region

DELIMITERS = {",": ",", ";": ";", "tab": "tab", "|": "|"}
MOVING = ("receiving", "reading")


@require_http_methods(["GET", "HEAD", "POST"])
def file(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    found = find_batch(request, slug, batch)
    if request.method == "POST":
        find_batch(request, slug, batch, MEMBER)
        try:
            return change(request, found)
        except Refused as refusal:
            found = find_batch(request, slug, batch)
            return show(request, found, status=422, problem=str(refusal))
    number = read_id(request.GET.get("row"))
    if request.htmx and number is not None:  # type: ignore[attr-defined]
        return render(request, "batches/file_row.html", row_context(found, number))
    return show(request, found, **(row_context(found, number) if number is not None else {}))


def show(request: HttpRequest, batch: Batch, status: int = 200, **more: Any) -> HttpResponse:
    upload = batch.upload
    stage = stage_of(upload)
    sent = not batch.is_draft or batch.runs.exists()
    context: dict[str, Any] = {
        "batch": batch,
        "workspace": batch.workspace,
        "upload": upload,
        "stage": stage,
        "token": secrets.token_urlsafe(16),
        "may_change": may(request.membership, MEMBER) and not sent,  # type: ignore[attr-defined]
    }
    if stage in MOVING:
        context["region"] = region(request, batch, stage)
    if upload is not None and stage in ("ready", "refused"):
        context |= reading_of(upload) | problems_of(upload)
        context |= {"columns": describe_columns(upload), "rows": first_rows(upload)}
        context["agreed"] = 0 < upload.problem_rows <= batch.leave_out
        context["choice"] = "leave_out" if context["agreed"] else request.POST.get("choice", "")
    template = "batches/file_sent.html" if sent else "batches/file.html"
    return render(request, template, context | more, status=status)


def stage_of(upload: Upload | None) -> str:
    """What the page is about: one of missing, receiving, reading, stuck, ready, refused."""
    if upload is None:
        return "missing"
    if upload.state == Upload.State.QUEUED:
        return "stuck" if upload.crashes >= CRASH_LIMIT else "reading"
    return str(upload.state)


def region(request: HttpRequest, batch: Batch, stage: str) -> Region:
    upload, at = batch.upload, database_now()
    waits = upload is not None and upload.due_at is not None and upload.due_at < at - SILENT_AFTER
    context = {"upload": upload, "nobody_works": waits and not Worker.objects.alive(at).exists()}
    place = {"slug": batch.workspace.slug, "batch": batch.pk}
    url = reverse("batches:file_live", kwargs=place)
    return Region(request, stage, f"batches/file_{stage}.html", context, url=url, seconds=1)


@require_safe
def file_live(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """How far it is; where the file has come to its next stage, the page is loaded anew."""
    found = find_batch(request, slug, batch)
    stage = stage_of(found.upload)
    if stage in MOVING and request.htmx.target in (None, stage):  # type: ignore[attr-defined]
        return region(request, found, stage).answer()
    return HttpResponse(status=204, headers={"HX-Refresh": "true"})


def reading_of(upload: Upload) -> dict[str, Any]:
    """The facts line: what can be chosen, what is, and what another encoding would make of it."""
    encoding, delimiter = upload.encoding or "utf-8", upload.delimiter
    chosen = "tab" if delimiter == "\t" else delimiter
    separators = {} if chosen in DELIMITERS else {chosen: chosen or "found by itself"}
    path = archive.received(upload.pk)
    try:
        marked, difference = is_marked(path), find_difference(path, encoding)
    except (FileNotFoundError, LookupError):
        marked, difference = False, None
    return {
        "encodings": encodings.choices(encoding),
        "encoding": encoding,
        "encoding_name": encodings.name_of(encoding),
        "delimiters": separators | DELIMITERS,
        "delimiter": chosen,
        "marked": marked,
        "difference": difference,
        "difference_name": encodings.name_of(difference.encoding) if difference else "",
    }


def problems_of(upload: Upload) -> dict[str, Any]:
    first = upload.first_problems
    of_file = [problem for problem in first if not problem["row"]]
    mendable = {problem.get("field") for problem in of_file} & {
        "encoding",
        "delimiter",
        "has_header",
    }
    more = upload.problem_count - len(first)
    return {
        "of_file": of_file,
        "of_rows": [problem for problem in first if problem["row"]],
        "more": more,
        "more_said": f"and {more:,} more of {count(upload.problem_kinds, 'kind')}" if more else "",
        "cannot_be_sent": f"{count(upload.problem_rows, upload.row_word.lower())} cannot be sent",
        "sendable": upload.rows - upload.problem_rows,
        "choices": [
            (p["choice"], encodings.name_of(p["choice"]))
            for p in of_file
            if p.get("field") == "encoding" and p.get("choice")
        ],
        "is_mendable": bool(mendable),
        "header_is_wrong": "has_header" in mendable and upload.has_header,
    }


def row_context(batch: Batch, number: int) -> dict[str, Any]:
    upload = batch.upload
    row = whole_row(upload, number) if upload is not None else None
    return {"upload": upload, "row": row, "row_number": number}


def change(request: HttpRequest, batch: Batch) -> HttpResponse:
    """What the forms of the page ask for. Raises Refused with what to tell the person."""
    here = redirect("batches:file", slug=batch.workspace.slug, batch=batch.pk)
    if not batch.is_draft or batch.runs.exists():
        raise Refused("This batch was sent, so its file stays as it is. Start a new batch.")
    if "file" in request.FILES or "replace" in request.POST:
        receive_form(request, batch.workspace, replacing=batch)
        return here
    stage = stage_of(batch.upload)
    if "cancel" in request.POST and batch.upload is not None:
        return redirect(after_cancelling(receiving.cancel(batch.upload), batch.workspace.slug))
    if "read" in request.POST and stage in ("ready", "refused", "stuck", "reading"):
        read_otherwise(batch, database_now(), **read_choices(request))
        return here
    if stage != "ready":
        return here
    if "continue" not in request.POST:
        return choose(request, batch)
    return go_on(request, batch)


def read_choices(request: HttpRequest) -> dict[str, Any]:
    """How the file is to be read, as far as the form says it."""
    given = request.POST
    choices: dict[str, Any] = {}
    if "encoding" in given:
        choices["encoding"] = clean(given["encoding"])[:20]
    if "delimiter" in given:
        text = "\t" if given["delimiter"] == "tab" else given["delimiter"]
        if len(text) > 1:
            raise Refused("A delimiter is one character.")
        choices["delimiter"] = clean(text)
    if "has_header" in given:
        choices["has_header"] = "1" in given.getlist("has_header")
    return choices


def choose(request: HttpRequest, batch: Batch) -> HttpResponse:
    """Keep what was chosen for the rows with problems, before anything else is pressed."""
    save_choice(batch, request.POST)
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect("batches:file", slug=batch.workspace.slug, batch=batch.pk)
    upload = batch.upload
    agreed = upload is not None and batch.leave_out >= upload.problem_rows
    context = {
        "batch": batch,
        "workspace": batch.workspace,
        "upload": upload,
        "agreed": agreed,
        "choice": request.POST.get("choice", ""),
    }
    return render(request, "batches/file_chosen.html", context)


def go_on(request: HttpRequest, batch: Batch) -> HttpResponse:
    upload = batch.upload
    if upload is not None and upload.problem_rows > batch.leave_out:
        save_choice(batch, request.POST)
        if upload.problem_rows > batch.leave_out:
            raise Refused(
                f"{count(upload.problem_rows, upload.row_word.lower())} cannot be sent. Leave "
                "them out, or replace the file."
            )
    requests = upload is not None and upload.kind == Upload.Kind.REQUESTS
    step = "batches:review" if requests else "batches:recipe"
    return redirect(step, slug=batch.workspace.slug, batch=batch.pk)


def save_choice(batch: Batch, given: Any) -> None:
    """Agreed is a number of rows, the one that the person saw."""
    upload = batch.upload
    if upload is None or not upload.problem_rows or "choice" not in given:
        return
    seen = given.get("rows") == str(upload.problem_rows)
    leave_out = given["choice"] == "leave_out" and seen and upload.rows > upload.problem_rows
    batch.leave_out = max(batch.leave_out, upload.problem_rows) if leave_out else 0
    batch.saved_at = database_now()
    batch.save(update_fields=["leave_out", "saved_at"])


@require_safe
def file_problems(request: HttpRequest, slug: str, batch: int) -> HttpResponseBase:
    """All problems as a table, the first 100 and the others."""
    found = find_batch(request, slug, batch)
    upload = found.upload
    if upload is None or stage_of(upload) not in ("ready", "refused"):
        return show(request, found, 409, problem="The problems are known once the file is read.")
    try:
        problems = starting.open_problems(upload)
    except FileNotFoundError:
        gone = "The list of problems is gone from the server. Read the file again."
        return show(request, found, 404, problem=gone)
    name = f"problems-{found.pk}.csv"
    return StreamingHttpResponse(
        stream(write_problems(problems), name),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
