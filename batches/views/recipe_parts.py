"""What the recipe page and its preview show alike, so that one answer can mend both."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse

from batches.drafting import LABELS, OTHER, RecipeForm
from batches.drafts import as_saved, last_sound
from batches.limits import EFFORTS, THINKING, Limits
from batches.models import Batch
from batches.own_ids import count_own_ids
from batches.picking import Picked, pick
from batches.previewing import Preview
from batches.problems import Problem
from batches.recipe import Recipe, Template
from claude_api import Model
from claude_api.pricing import prices_of
from leases.clock import database_now

ADVANCED = ("output_format", "tools", "tool_choice", "cache_system", "extra")
THINKING_LABELS = {"adaptive": "Adaptive", "enabled": "With a budget", "disabled": "Off"}
BLANK_PROMPT = "Write a prompt. Click a column to put it in."
NO_COLUMN = "Put a column in: without one every row gets the same request."
UNSOUND = "The preview appears when what is marked is mended."
SOON = timedelta(days=60)
UNREADABLE = "The rows of this file are not readable on the server. Nothing is lost by waiting."


def fields_context(form: RecipeForm, problems: Sequence[Problem]) -> dict[str, Any]:
    """What stands at the fields: problems, what is known of the model, the columns in use."""
    model, limits = form.recipe.model, form.limits
    known = limits.find(model)
    return {
        "form": form,
        "typed": form.typed,
        "errors": {name: [one for one in problems if one.field == name] for name in LABELS},
        "model": known,
        "retires_soon": retires_soon(known, database_now()),
        "model_is_known": limits.knows(model),
        "prices": unit_prices(model),
        "advanced": [LABELS[name] for name in ADVANCED if form.typed[name]],
        "thinking_choices": _choices(form.typed["thinking"], limits.thinking(model), THINKING),
        "effort_choices": _choices(form.typed["effort"], limits.efforts(model), EFFORTS),
        "used": used_columns(form.recipe),
    }


def retires_soon(model: Model | None, at: datetime) -> bool:
    return model is not None and model.retires_at is not None and model.retires_at < at + SOON


def _choices(chosen: str, known: Sequence[str], order: Sequence[str]) -> list[tuple[str, str]]:
    """(value, label) of what the model can, and of what is chosen although it cannot."""
    values = [name for name in order if name in known]
    values += [chosen] if chosen and chosen not in values else []
    return [(value, THINKING_LABELS.get(value, value)) for value in values]


def used_columns(recipe: Recipe) -> set[str]:
    return {*Template(recipe.prompt).columns, *Template(recipe.system).columns}


def version_known(request: HttpRequest) -> str:
    """Of the recipe that the form was loaded from, or that the person chose to save over."""
    return request.POST.get("over") or request.POST.get("loaded", "")


def own_ids_context(batch: Batch, form: RecipeForm) -> dict[str, Any]:
    column = form.typed["id_column"]
    if not column or batch.upload is None or column not in batch.upload.columns:
        return {"id_column": ""}
    return {"id_column": column, "own_ids": count_own_ids(batch.upload, column)}


def unit_prices(model: str) -> dict[str, Any]:
    """Of a million tokens in a batch, and when they were looked up; {} where nobody knows."""
    prices = prices_of(model)
    if prices is None:
        return {}
    given = {"input": prices.input, "output": prices.output}
    return {"as_of": prices.as_of} | {name: unit_price(amount) for name, amount in given.items()}


def unit_price(amount: Decimal) -> str:
    """$0.50, and $0.125 with all of its figures."""
    digits = -int(amount.normalize().as_tuple().exponent)
    return f"${amount:.{max(digits, 2)}f}"


def model_choices(limits: Limits, chosen: str) -> list[tuple[str, str]]:
    """(id, label) of the models of the key; an alias that was typed stands for its model."""
    known = limits.find(chosen)
    choices = []
    for model in limits.models.values():
        value = chosen if known and known.id == model.id else model.id
        prices = unit_prices(model.id)
        price = f" · {prices['input']} / {prices['output']}" if prices else ""
        choices.append((value, f"{model.display_name or model.id} · {value}{price}"))
    if choices:
        choices.append((OTHER, "Another model…"))
    return choices


def preview_context(request: HttpRequest, batch: Batch, form: RecipeForm) -> dict[str, Any]:
    """One row under the recipe; the last good one, or a sentence, while there is none."""
    recipe, note = _recipe_to_show(batch, form)
    picked, said = _pick(request, batch)
    preview = Preview(recipe, form.columns, picked, form.limits) if recipe and picked else None
    as_json = (request.GET.get("show") or request.POST.get("preview_show")) == "json"
    return {
        "batch": batch,
        "preview": preview,
        "picked": picked,
        "said": said or (note if preview is None else ""),
        "stale": note if preview else "",
        "show": "json" if as_json else "text",
        "needs_model": not form.recipe.model,
    }


def _recipe_to_show(batch: Batch, form: RecipeForm) -> tuple[Recipe | None, str]:
    """A recipe, with the reason where it is not the one that was typed."""
    if not form.recipe.prompt.strip():
        return None, BLANK_PROMPT
    if form.says_nothing_of_a_row:
        return None, NO_COLUMN
    if not form.begun:  # at most the model is not chosen yet
        return as_saved(batch, form.recipe), ""
    recipe = last_sound(batch)
    if recipe is None:
        return None, UNSOUND
    label = LABELS[form.begun[0].field]
    what = "The prompt" if label == "Prompt" else f"“{label}”"
    return recipe, f"{what} has an error; showing the last good one."


def _pick(request: HttpRequest, batch: Batch) -> tuple[Picked | None, str]:
    wanted = request.GET.get("row") or request.POST.get("row") or request.POST.get("preview_row")
    upload = batch.upload
    if upload is None or upload.rows_fence is None:
        return None, UNREADABLE
    try:
        picked = pick(upload.pk, upload.rows_fence, (wanted or "").strip().replace(",", ""))
    except FileNotFoundError:
        return None, UNREADABLE
    return picked, "" if picked else "This file has no rows."


def address(name: str, slug: str, batch: Batch, context: dict[str, Any]) -> str:
    """Of the page or the preview, with the row and the tab that are shown."""
    query = {"row": context["picked"].row.number} if context["picked"] else {}
    if context["show"] == "json":
        query["show"] = "json"
    place = reverse(f"batches:{name}", kwargs={"slug": slug, "batch": batch.pk})
    return f"{place}?{urlencode(query)}" if query else place
