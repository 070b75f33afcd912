from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple, Self, cast
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from batches.exporting import FORMATS, ExportRefused, Format, find_upload
from batches.exporting_choice import ROWS, Choice, Rows
from batches.exporting_formats import OUR_COLUMNS, name_columns
from batches.models import Batch, Upload
from batches.reading import Filter, read_row_number
from batches.searching import LONGEST
from batches.views.finding import find_batch

MOST_SELECTED = 1_000


class Wishes(NamedTuple):
    """What a query string asks to download; `problems` by the name of the parameter."""

    format: Format
    choice: Choice
    exact: bool
    bom: bool
    problems: dict[str, str]

    @classmethod
    def read(cls, query: Mapping[str, Any], selected: Iterable[str] = ()) -> Self:
        problems = {}
        if (format := query.get("format", "csv")) not in FORMATS:
            problems["format"] = "Choose CSV or JSONL."
        if (rows := query.get("rows", "all")) not in ROWS:
            problems["rows"] = "Choose which rows."
        text = query.get("q", "").replace("\x00", "")[:LONGEST].strip()
        numbers = frozenset(filter(None, map(read_row_number, islice(selected, MOST_SELECTED))))
        if rows == "selected" and not numbers:
            problems["rows"] = "No row is selected."
        choice = Choice(cast(Rows, rows), Filter.read(query), text, numbers)
        exact, bom = (query.get(name, "0") not in ("", "0") for name in ("exact", "bom"))
        return cls(cast(Format, format), choice, exact, bom, problems)


@require_safe
def export(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    found = find_batch(request, slug, batch)
    asked = query_of(request, found)
    given = {"rows": "all", "bom": "1", **asked.dict()}
    wishes = Wishes.read(given, asked.getlist("row"))
    return render_export(request, found, wishes)


def query_of(request: HttpRequest, batch: Batch) -> QueryDict:
    """Its own; that of the results page where the dialog is opened there."""
    here = urlsplit(request.htmx.current_url_abs_path or "")  # type: ignore[attr-defined]
    place = {"slug": batch.workspace.slug, "batch": batch.pk}
    if not request.GET and here.path == reverse("batches:results", kwargs=place):
        return QueryDict(here.query)
    return request.GET


def render_export(
    request: HttpRequest, batch: Batch, wishes: Wishes, status: int = 200
) -> HttpResponse:
    """The form: a dialog for htmx, else a page."""
    context: dict[str, Any] = {"batch": batch, "wishes": wishes, "refusal": why_not(batch)}
    if not context["refusal"]:
        context |= describe(batch, find_upload(batch), wishes)
    name = "export_form" if request.htmx else "export"  # type: ignore[attr-defined]
    return render(request, f"batches/{name}.html", context, status=status)


def why_not(batch: Batch) -> str:
    """What keeps the Batch from being downloaded; empty where nothing does."""
    if batch.is_draft:
        return "Nothing was sent yet, so there is nothing to download."
    try:
        find_upload(batch)
    except ExportRefused as refused:
        return str(refused)
    return ""


def describe(batch: Batch, upload: Upload, wishes: Wishes) -> dict[str, Any]:
    """What there is to choose from, in numbers, and how our columns are called."""
    offered: list[tuple[Rows, str, str]] = [
        ("all", "All", "the order of your file; rows that were left out say why"),
        ("succeeded", "Succeeded", ""),
        ("problems", "Problems", "left out, not succeeded, or worth a look"),
    ]
    if wishes.choice.filter != Filter() or wishes.choice.text:
        offered.append(("filter", "This filter", say_filter(wishes.choice)))
    if wishes.choice.numbers:
        offered.append(("selected", "Selected", ""))
    columns = upload.columns if upload.kind == Upload.Kind.TABLE else []
    named = zip(OUR_COLUMNS, name_columns(columns), strict=True)
    return {
        "choices": [
            (rows, name, hint, wishes.choice._replace(rows=rows).row_count(batch, upload))
            for rows, name, hint in offered
        ],
        "renamed": [(ours, name) for ours, name in named if ours != name],
    }


def say_filter(choice: Choice) -> str:
    said = [value.replace("_", " ") for value in choice.filter.parameters().values()]
    return ", ".join([*said, f"“{choice.text}”"] if choice.text else said)
