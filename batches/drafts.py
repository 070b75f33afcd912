"""The recipe of a draft: what its form shows, and what is kept of it."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from django.db import transaction

from batches.drafting import RecipeForm
from batches.limits import Limits
from batches.models import Batch, Upload
from batches.recipe import Recipe, check
from workspaces.models import Workspace


def limits_of(workspace: Workspace) -> Limits:
    key = workspace.live_key()
    return Limits(key.models if key else [])


def columns_of(upload: Upload | None) -> list[str]:
    return list(upload.columns) if upload else []


def form_of(batch: Batch, limits: Limits) -> RecipeForm:
    """What was typed last, where it is no recipe yet; else the recipe."""
    columns = columns_of(batch.upload)
    if fields := batch.typed.get("fields"):
        return RecipeForm(fields, columns, limits)
    return RecipeForm.of(batch.recipe, columns, limits)


def last_sound(batch: Batch) -> Recipe | None:
    """The recipe to show while what is typed is none; it has to fit the columns of the file."""
    kept: Mapping[str, Any] = batch.recipe or batch.typed.get("recipe") or {}
    recipe = msgspec.convert(kept, Recipe) if kept else None
    return recipe if recipe and not check(recipe, columns_of(batch.upload)) else None


def as_saved(batch: Batch, recipe: Recipe) -> Recipe:
    """The same recipe with the keys of its objects in the order in which they are sent."""
    saved = msgspec.convert(batch.recipe, Recipe) if batch.recipe else None
    return saved if saved is not None and saved == recipe else recipe


def version_of(batch: Batch) -> str:
    """Of the recipe and what was typed: equal until somebody saves something else."""
    kept = msgspec.json.encode([batch.recipe, batch.typed], order="sorted")
    return hashlib.sha256(kept).hexdigest()[:32]


def keep(batch: Batch, form: RecipeForm, at: datetime, loaded: str = "") -> bool:
    """Save all that was typed; False where somebody else was first.

    Then either the Batch is no draft any more, or its recipe is not of the version that the form
    was loaded from and differs from what was typed. `batch` becomes what is saved.
    """
    with transaction.atomic():
        held = Batch.objects.select_for_update().get(pk=batch.pk)
        before = version_of(held)
        _take(held, form)
        held.saved_at = at
        is_free = not loaded or before in (loaded, version_of(held))
        if saved := held.is_draft and is_free:
            held.save(update_fields=["recipe", "typed", "saved_at"])
    batch.refresh_from_db(fields=["recipe", "typed", "saved_at", "state"])
    return saved


def _take(batch: Batch, form: RecipeForm) -> None:
    """A recipe with a problem is not one that could be sent: it is kept as it was typed."""
    if recipe := form.sound:
        batch.recipe, batch.typed = msgspec.to_builtins(recipe), {}
    else:
        sound = batch.recipe or batch.typed.get("recipe", {})
        batch.recipe, batch.typed = {}, {"fields": form.typed, "recipe": sound}
