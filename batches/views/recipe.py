from typing import Any, NamedTuple

import msgspec
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from batches import archive
from batches.drafting import LABELS, RecipeForm
from batches.drafts import columns_of, form_of, keep, limits_of, version_of
from batches.models import Batch, MessageBatch, Request, Run, Upload
from batches.pages import read_id
from batches.picking import WORDS, pick
from batches.previewing import fill, named_texts
from batches.recipe import Recipe, digest
from batches.views.finding import MEMBER, VIEWER, find_batch
from batches.views.recipe_parts import (
    address,
    fields_context,
    model_choices,
    own_ids_context,
    preview_context,
    version_known,
)
from leases.clock import database_now
from workspaces.models import Membership, Workspace

SOURCES = 10
MOST_RETRIES = 20


class First(NamedTuple):
    """The first row that was sent, and its request as JSON."""

    row: int
    line: bytes

    @property
    def number(self) -> str:
        return f"{self.row:,}"


@require_http_methods(["GET", "HEAD", "POST"])
def recipe(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """Of a draft the form with its preview; of a Batch that was sent the recipe as it was sent."""
    found = find_batch(request, slug, batch, MEMBER if request.method == "POST" else VIEWER)
    if not found.is_draft:
        return sent(request, found)
    if found.upload is None or found.upload.state != Upload.State.READY:
        return redirect("batches:file", slug=slug, batch=found.pk)
    if found.upload.kind == Upload.Kind.REQUESTS:
        context = {"workspace": found.workspace, "batch": found}
        return render(request, "batches/recipe_ready.html", context)
    return go_on(request, found) if request.method == "POST" else draft(request, found)


def draft(request: HttpRequest, batch: Batch) -> HttpResponse:
    loaded = version_of(batch)
    form = begin(request, batch, form_of(batch, limits_of(batch.workspace)))
    context = page_context(request, batch, form) | {"loaded": loaded}
    if request.GET.get("row") in WORDS and context["picked"]:
        # So that a reload shows the same row.
        return redirect(address("recipe", batch.workspace.slug, batch, context))
    return render(request, "batches/recipe.html", context)


def begin(request: HttpRequest, batch: Batch, form: RecipeForm) -> RecipeForm:
    """`?from=ID` fills the form with the recipe of another Batch, `?from=blank` empties it.

    Nothing is saved before something is changed.
    """
    wanted = request.GET.get("from", "")
    source = sources(batch).filter(pk=read_id(wanted)).first() if read_id(wanted) else None
    if source is None and wanted != "blank":
        return form
    batch.recipe, batch.typed = source.recipe if source else {}, {}
    return RecipeForm.of(batch.recipe, form.columns, form.limits)


def sources(batch: Batch) -> Any:
    """Batches of the workspace whose recipe this one may start from, newest first."""
    others = Batch.objects.filter(workspace_id=batch.workspace_id, deleting_at=None)
    return others.exclude(pk=batch.pk).exclude(recipe={}).order_by("-pk")


def go_on(request: HttpRequest, batch: Batch) -> HttpResponse:
    """Save, and go to the review; where something is wrong, everything at its place."""
    slug = batch.workspace.slug
    limits = limits_of(batch.workspace)
    form = RecipeForm.posted(request.POST, columns_of(batch.upload), limits)
    if not keep(batch, form, database_now(), version_known(request)):
        if batch.is_draft:
            return changed(request, batch, form)
        return redirect("batches:recipe", slug=slug, batch=batch.pk)
    if form.sound:
        return redirect("batches:review", slug=slug, batch=batch.pk)
    context = page_context(request, batch, form, refused=True)
    return render(request, "batches/recipe.html", context, status=422)


def changed(request: HttpRequest, batch: Batch, form: RecipeForm) -> HttpResponse:
    """Somebody saved another recipe meanwhile: what was typed, and the choice between the two."""
    context = page_context(request, batch, form)
    context |= {"changed": True, "loaded": request.POST.get("loaded", "")}
    return render(request, "batches/recipe.html", context, status=422)


def page_context(
    request: HttpRequest, batch: Batch, form: RecipeForm, refused: bool = False
) -> dict[str, Any]:
    problems = form.problems if refused else form.begun
    return {
        "workspace": batch.workspace,
        "may_edit": True,
        "version": version_of(batch),
        "loaded": version_of(batch),
        "refused": [(LABELS[one.field], one) for one in problems] if refused else [],
        "model_choices": model_choices(form.limits, form.recipe.model),
        "columns": [(name, samples(batch).get(name, "")) for name in form.columns],
        "sources": sources(batch)[:SOURCES],
        "who_can": who_can(batch.workspace),
        **fields_context(form, problems),
        **own_ids_context(batch, form),
        **preview_context(request, batch, form),
    }


def samples(batch: Batch) -> dict[str, str]:
    """What stands in each column of the first row."""
    upload = batch.upload
    try:
        picked = pick(upload.pk, upload.rows_fence or 0) if upload else None
    except FileNotFoundError:
        return {}
    cells = [cell[:80] for cell in picked.row.cells] if picked else []
    return dict(zip(columns_of(upload), cells, strict=False))


def who_can(workspace: Workspace) -> str:
    """Whom a viewer may ask."""
    roles = (Membership.Role.MEMBER, Membership.Role.OWNER)
    members = workspace.memberships.filter(role__in=roles, user__is_active=True)
    names = [one.user.get_username() for one in members.select_related("user").order_by("pk")[:3]]
    return " or ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def sent(request: HttpRequest, batch: Batch) -> HttpResponse:
    """The Recipe tab: the recipe of the newest Run, and what was made of the first row."""
    recipe = sent_recipe(batch)
    context = {
        "workspace": batch.workspace,
        "batch": batch,
        "recipe": recipe,
        "form": RecipeForm.of(msgspec.to_builtins(recipe), []) if recipe else None,
        "texts": [(name, list(fill(text, {}))) for name, text in named_texts(recipe)]
        if recipe
        else [],
        "first": first_request(batch),
        "retries": other_recipes(batch, recipe),
    }
    return render(request, "batches/recipe_sent.html", context)


class Retried(NamedTuple):
    """A retry with another recipe than the one before it."""

    run: Run
    changes: list[str]
    id: str


def sent_recipe(batch: Batch) -> Recipe | None:
    """Of the newest Run that was no retry; None for ready requests, and what was adopted."""
    runs = batch.runs.exclude(state=Run.State.REFUSED).order_by("-pk")
    first = next((run for run in runs if run.selection.get("kind") != "retry"), None)
    given = first.recipe if first and first.recipe else batch.recipe
    return msgspec.convert(given, Recipe) if given else None


def other_recipes(batch: Batch, recipe: Recipe | None) -> list[Retried]:
    """The newest retries that had another recipe, and in which fields it differed."""
    if recipe is None:
        return []
    before = msgspec.to_builtins(recipe)
    found: list[Retried] = []
    runs = batch.runs.exclude(state=Run.State.REFUSED).select_related("requested_by")
    for run in runs.order_by("-pk")[:MOST_RETRIES]:
        if run.selection.get("kind") == "retry" and digest(run.recipe) != digest(before):
            now = msgspec.to_builtins(msgspec.convert(run.recipe, Recipe))
            changes = [LABELS[name] for name in LABELS if now.get(name) != before.get(name)]
            found.append(Retried(run, changes, f"recipe-{run.pk}"))
    return found


def first_request(batch: Batch) -> First | None:
    """The request of the first row, as its line in the requests file has it."""
    first = Request.objects.filter(batch=batch).order_by("row", "-pk").first()
    if first is None:
        return None
    part = MessageBatch.objects.visible().filter(pk=first.message_batch_id).first()
    if part is None or part.requests_fence is None:
        return None
    path = archive.requests(part.pk, part.requests_fence)
    try:
        return First(first.row, archive.read_slice(path, first.offset, first.length))
    except FileNotFoundError:
        return None
