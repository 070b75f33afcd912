from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from batches.drafting import RecipeForm
from batches.drafts import columns_of, form_of, keep, limits_of, version_of
from batches.models import Batch
from batches.views.finding import MEMBER, VIEWER, find_batch
from batches.views.recipe import changed
from batches.views.recipe_parts import (
    address,
    fields_context,
    own_ids_context,
    preview_context,
    version_known,
)
from leases.clock import database_now


@require_http_methods(["GET", "HEAD", "POST"])
def preview(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """One row as the request that would be sent; a POST saves on the way what was typed."""
    found = find_batch(request, slug, batch, MEMBER if request.method == "POST" else VIEWER)
    form, saved = form_of(found, limits_of(found.workspace)), False
    if request.method == "POST":
        form = RecipeForm.posted(request.POST, columns_of(found.upload), form.limits)
        saved = keep(found, form, database_now(), version_known(request))
        if not found.is_draft:
            return to_page(request, "recipe", slug, found)
        if not (saved or request.htmx):  # type: ignore[attr-defined]
            return changed(request, found, form)
    context = preview_context(request, found, form)
    if request.GET.get("show") == "raw" and context["preview"]:
        return raw(context["preview"].rendered)
    page = address("recipe", slug, found, context)
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect(f"{page}#preview-pane")
    context |= {"workspace": found.workspace, "may_edit": found.is_draft}
    if request.method == "POST":
        context |= {"beside": True, "changed": not saved, **own_ids_context(found, form)}
        context["version"] = context["loaded"] = version_of(found)
        context |= fields_context(form, form.begun)
        context["thinking_changed"] = thinking_changed(request, context)
    response = render(request, "batches/preview.html", context)
    response["HX-Replace-Url"] = page
    return response


def thinking_changed(request: HttpRequest, context: dict[str, object]) -> bool:
    """Whether the page offers what another model can: only then it is drawn anew."""
    offered = request.POST.get("thinking_offered", "").split()
    choices = [*context["thinking_choices"], *context["effort_choices"]]  # type: ignore[misc]
    return offered != [value for value, _ in choices]


def to_page(request: HttpRequest, name: str, slug: str, batch: Batch) -> HttpResponse:
    """The Batch was sent meanwhile: its page says so."""
    response = redirect(f"batches:{name}", slug=slug, batch=batch.pk)
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponse(headers={"HX-Redirect": response["Location"]})
    return response


def raw(rendered: object) -> HttpResponse:
    params = getattr(rendered, "params", b"null")
    return HttpResponse(params, content_type="application/json")
