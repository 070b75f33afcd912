from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from batches.models import Batch
from batches.planning import Selection
from batches.reading import read_row_number
from batches.recipe import digest
from batches.retry_review import RetryReview, edited_recipe
from batches.retrying import MOST_ROWS, CannotRetry
from batches.reviewing import token_of
from batches.starting import one_at_a_time
from batches.views.finding import MEMBER, find_batch
from batches.words import count
from leases.clock import database_now

MOST_NAMED = 50
NAMED = ("type", "stop", "error", "row")
EDITED = "edited"


@require_http_methods(["GET", "HEAD", "POST"])
def retry(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """Which rows would be sent once more, with which recipe, at what price; and the button."""
    found = find_batch(request, slug, batch, MEMBER)
    if found.is_draft:
        return redirect("batches:recipe", slug=slug, batch=batch)
    if request.method == "POST" and "look" not in request.POST:
        return send(request, found)
    return show(request, look(request, found))


def look(request: HttpRequest, batch: Batch) -> RetryReview:
    query = request.POST if request.method == "POST" else request.GET
    return RetryReview(
        batch,
        read_selection(query),
        database_now(),
        edited=query.get("recipe") == EDITED,
        max_tokens=query.get("max_tokens"),
    )


def read_selection(query: QueryDict) -> Selection:
    """Types, stop reasons and errors, or rows by their numbers; what is neither is left away."""

    def listed(name: str) -> list[str]:
        values = (value[:60].replace("\x00", "") for value in query.getlist(name))
        return [value for value in values if value][:MOST_NAMED]

    numbers = {read_row_number(text) for text in query.getlist("row")[:MOST_ROWS]}
    rows = sorted(number for number in numbers if number)
    concerns = listed("stop") + listed("error")
    return Selection(kind="retry", types=listed("type"), concerns=concerns, rows=rows)


def named_by(selection: Selection) -> list[tuple[str, str]]:
    """The selection as it stands in an address: stop reasons and errors are one kind there."""
    return [
        *(("type", one) for one in selection.types),
        *(("error", one) for one in selection.concerns),
        *(("row", str(one)) for one in selection.rows),
    ]


def send(request: HttpRequest, batch: Batch) -> HttpResponse:
    """One press: everything is looked at once more, and one Run is queued for it."""
    slug = batch.workspace.slug
    with one_at_a_time(batch.workspace):
        found = find_batch(request, slug, batch.pk, MEMBER)
        # Whoever pressed first has pressed for everybody who saw the same.
        if request.POST.get("token") != token_of(found):
            return redirect("batches:overview", slug=slug, batch=found.pk)
        looked_at = look(request, found)
        objections = object_to(request, looked_at)
        if not objections:
            try:
                looked_at.send(token_of(found), request.user)  # type: ignore[arg-type]
            except CannotRetry as error:
                objections = [str(error)]
            else:
                return redirect("batches:overview", slug=slug, batch=found.pk)
    return show(request, looked_at, objections, status=422)


def object_to(request: HttpRequest, looked_at: RetryReview) -> list[str]:
    """What was shown has to be what is sent."""
    if looked_at.obstacles or looked_at.problems:
        return [obstacle.sentence for obstacle in looked_at.obstacles] or ["Nothing was sent."]
    if request.POST.get("seen") != digest(looked_at.base):
        return ["The recipe was edited meanwhile. Look again, and press then."]
    if request.POST.get("requests") != str(looked_at.requests):
        return [f"It is {count(looked_at.requests, 'row')} by now. Look again, and press then."]
    return []


def show(
    request: HttpRequest,
    looked_at: RetryReview,
    objections: list[str] | None = None,
    status: int = 200,
) -> HttpResponse:
    batch, named = looked_at.batch, named_by(looked_at.wish.selection)
    edited = [("recipe", EDITED)] if looked_at.edited else []
    here, editor = (
        reverse(f"batches:{name}", args=[batch.workspace.slug, batch.pk])
        for name in ("retry", "retry_recipe")
    )
    context: dict[str, Any] = {
        "workspace": batch.workspace,
        "batch": batch,
        "review": looked_at,
        "named": [*named, *edited],
        "query": urlencode([*named, *edited]),
        "url": here,
        "as_sent": f"{here}?{urlencode(named)}",
        "with_edited": f"{here}?{urlencode([*named, ('recipe', EDITED)])}",
        "has_edited": bool(edited_recipe(batch)),
        "edit_url": f"{editor}?{urlencode({'to': urlencode(named)})}",
        "token": token_of(batch),
        "seen": digest(looked_at.base),
        "objections": objections,
        "form": "batches/retry_form.html",
    }
    if request.htmx:  # type: ignore[attr-defined]
        beside = request.htmx.target == "retry-figures"  # type: ignore[attr-defined]
        context["beside"] = beside
        return render(request, f"batches/retry_{'figures' if beside else 'form'}.html", context)
    return render(request, "batches/asked.html", context, status=status)
