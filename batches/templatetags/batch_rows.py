"""What the cells, pills and heads of a Batch say."""

from typing import Any

from django import template
from django.urls import reverse

from batches.models import Batch, MessageBatch, Upload

register = template.Library()
UNKNOWN = "–"
State = Batch.State
Part = MessageBatch.State
LOOKS = {
    State.DRAFT: ("draft", "gray"),
    State.QUEUED: ("queued", "gray"),
    State.BUILDING: ("running", "running"),
    State.SENDING: ("running", "running"),
    State.IN_PROGRESS: ("running", "running"),
    State.COLLECTING: ("running", "running"),
    State.CANCELING: ("canceling", "amber"),
    State.NEEDS_YOU: ("question", "amber"),
    State.REFUSED: ("refused", "red"),
}
RESULT_LOOKS = {
    "succeeded": ("done", "green", "Succeeded"),
    "errored": ("refused", "red", "Errored"),
    "canceled": ("canceled", "gray", "Canceled"),
    "expired": ("expired", "amber", "Expired"),
    "missing": ("incomplete", "amber", "Missing"),
    "left_out": ("draft", "gray", "Left out"),
    "not_chosen": ("queued", "gray", "Not chosen"),
    "not_sent": ("canceled", "gray", "Not sent"),
    "waiting": ("queued", "gray", "Waiting"),
    "unreadable": ("incomplete", "amber", "Unreadable"),
}
STEPS = (("file", "File"), ("recipe", "Recipe"), ("review", "Review"))


def look(batch: Batch) -> tuple[str, str]:
    """Icon and colour of the word; green only when every row of the file succeeded."""
    if batch.state != State.ENDED:
        return LOOKS[State(batch.state)]
    if batch.sent and batch.canceled == batch.sent:
        return "canceled", "gray"
    if batch.succeeded == 0:
        return "refused", "red"
    short = batch.not_succeeded + batch.not_sent + batch.left_out
    return ("partly", "amber") if short else ("done", "green")


def word(batch: Batch) -> str:
    return "Canceled" if look(batch)[0] == "canceled" else batch.get_state_display()


@register.inclusion_tag("batches/pill.html")
def pill(batch: Batch) -> dict[str, str]:
    icon, colour = look(batch)
    return {"icon": f"icons/{icon}.svg", "colour": colour, "word": word(batch)}


@register.inclusion_tag("batches/pill.html")
def result_pill(type: str) -> dict[str, str]:
    """Of one row: what came of it. A type newer than this program is shown under its own name."""
    icon, colour, said = RESULT_LOOKS.get(type, ("question", "amber", type))
    return {"icon": f"icons/{icon}.svg", "colour": colour, "word": said}


@register.simple_tag
def title_state(batch: Batch) -> str:
    """How a tab's title begins, so that one in the background tells how far it is."""
    if batch.state == State.IN_PROGRESS and batch.parts:
        return f"{batch.parts_ended:,} of {batch.parts:,} parts"
    return "Done" if word(batch) == "Ended" else word(batch)


@register.inclusion_tag("batches/steps.html", takes_context=True)
def steps(context: Any, batch: Batch | None) -> dict[str, Any]:
    """File, recipe, review; one that cannot be opened yet is no link."""
    here = context["request"].resolver_match.url_name
    slug = context["workspace"].slug
    found = []
    for name, said in STEPS:
        url = ""
        if batch is not None and (name == "file" or may_open(batch, name)):
            url = reverse(f"batches:{name}", kwargs={"slug": slug, "batch": batch.pk})
        current = name == here or (batch is None and name == "file")
        if batch is None and current:
            url = reverse("batches:new", kwargs={"slug": slug})
        found.append({"name": said, "url": url, "current": current})
    return {"steps": found}


def may_open(batch: Batch, step: str) -> bool:
    """A file that is read opens the recipe; ready requests, or a recipe, open the review."""
    upload = batch.upload
    if upload is None or upload.state != Upload.State.READY:
        return False
    if upload.kind == Upload.Kind.REQUESTS:
        return step == "review"
    return step == "recipe" or bool(batch.recipe.get("model") and batch.recipe.get("prompt"))


@register.filter
def thousands(number: int | None) -> str:
    """9,997; and – for what nobody knows."""
    return UNKNOWN if number is None else f"{number:,}"


@register.filter
def megabytes(size: int) -> str:
    """4.1 MB, 812 KB, 40 bytes."""
    if size >= 1_000_000:
        return f"{size / 1e6:,.1f} MB"
    return f"{size / 1e3:,.0f} KB" if size >= 1_000 else f"{size:,} bytes"


@register.filter
def rows(batch: Batch) -> str:
    return f"{batch.rows:,}" if batch.rows else UNKNOWN


@register.filter
def succeeded(batch: Batch) -> str:
    return counted(batch, batch.succeeded)


@register.filter
def not_succeeded(batch: Batch) -> str:
    return counted(batch, batch.not_succeeded)


@register.filter
def parts(batch: Batch) -> str:
    return f"{batch.parts_ended:,}/{batch.parts:,}" if batch.parts else UNKNOWN


def counted(batch: Batch, count: int) -> str:
    """Counts are known only once something was answered: until then nobody knows, not zero."""
    return f"{count:,}" if batch.state == State.ENDED or batch.answered else UNKNOWN
