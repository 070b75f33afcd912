from urllib.parse import urlencode

import msgspec
from django.db import transaction
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from batches.drafting import RecipeForm
from batches.drafts import columns_of, limits_of
from batches.models import Batch, Upload
from batches.reading import Filter, first_from
from batches.retry_review import RetryReview, edited_recipe
from batches.views.finding import MEMBER, find_batch
from batches.views.recipe import page_context
from batches.views.recipe_parts import preview_context
from batches.views.retry import EDITED, read_selection
from leases.clock import database_now


@require_http_methods(["GET", "HEAD", "POST"])
def retry_recipe(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """The recipe of a Batch that was sent, to be changed for a retry; it leads back there.

    `to` is the query of the page of that retry.
    """
    found = find_batch(request, slug, batch, MEMBER)
    if found.is_draft or not found.runs.exists():
        return redirect("batches:recipe", slug=slug, batch=batch)
    upload = found.upload
    if upload is None or upload.kind == Upload.Kind.REQUESTS or upload.rows_fence is None:
        return redirect("batches:recipe", slug=slug, batch=batch)
    to = QueryDict((request.POST.get("to") or request.GET.get("to", "")), mutable=True)
    # Each of them is said by the recipe itself from here on.
    to.pop("recipe", None)
    to.pop("max_tokens", None)
    if request.method == "POST":
        return take(request, found, to)
    if "row" not in request.GET and (row := first_row(found, to)):
        # So that a reload shows the same row.
        return redirect(f"{request.path}?{urlencode({'to': to.urlencode(), 'row': row})}")
    recipe = edited_recipe(found) or sent_with(found, to)
    form = RecipeForm.of(recipe, columns_of(upload), limits_of(found.workspace))
    return show(request, found, form, to)


def first_row(batch: Batch, to: QueryDict) -> int | None:
    """One of the rows that are sent once more, for the preview."""
    if rows := read_selection(to).rows:
        return rows[0]
    found = first_from(batch, Filter.read(to), 0, 1)
    return found[0].row if found else None


def sent_with(batch: Batch, to: QueryDict) -> dict[str, object]:
    return RetryReview(batch, read_selection(to), database_now()).sent_with


def take(request: HttpRequest, batch: Batch, to: QueryDict) -> HttpResponse:
    """Show what was typed on a row; or keep it, where it is sound, and go back to the retry."""
    # A row is told from others by the id that it was sent with.
    typed = request.POST.dict() | {"id_column": batch.recipe.get("id_column", "")}
    form = RecipeForm.posted(typed, columns_of(batch.upload), limits_of(batch.workspace))
    if request.htmx:  # type: ignore[attr-defined]
        context = preview_context(request, batch, form) | page_urls(batch, to)
        return render(request, "batches/preview.html", context | {"workspace": batch.workspace})
    if "look" in request.POST:
        return show(request, batch, form, to)
    if form.sound is None:
        return show(request, batch, form, to, refused=True)
    with transaction.atomic():
        held = Batch.objects.select_for_update().get(pk=batch.pk)
        held.typed = {**held.typed, "retry": msgspec.to_builtins(form.sound)}
        held.save(update_fields=["typed"])
    to["recipe"] = EDITED
    return redirect(f"{retry_url(batch)}?{to.urlencode()}")


def retry_url(batch: Batch) -> str:
    return reverse("batches:retry", args=[batch.workspace.slug, batch.pk])


def page_urls(batch: Batch, to: QueryDict) -> dict[str, str]:
    return {
        "editor_url": reverse("batches:retry_recipe", args=[batch.workspace.slug, batch.pk]),
        "back_url": f"{retry_url(batch)}?{to.urlencode()}",
        "to": to.urlencode(),
    }


def show(
    request: HttpRequest, batch: Batch, form: RecipeForm, to: QueryDict, refused: bool = False
) -> HttpResponse:
    context = page_context(request, batch, form, refused) | page_urls(batch, to)
    return render(request, "batches/retry_recipe.html", context, status=422 if refused else 200)
