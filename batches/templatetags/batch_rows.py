"""What the cells, pills and heads of a Batch say."""

import re
from datetime import UTC, datetime
from typing import Any

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from batches.cancelling import NOT_BUILT, NOT_SENT
from batches.costing import Bar
from batches.models import Batch, MessageBatch, Upload
from batches.words import say_size

register = template.Library()
DATED = re.compile(r"-\d{8}$")
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
PART_LOOKS = {
    Part.BUILDING: ("running", "running"),
    Part.QUEUED: ("queued", "gray"),
    Part.SENDING: ("running", "running"),
    Part.UNKNOWN: ("question", "amber"),
    Part.INCOMPLETE: ("incomplete", "amber"),
    Part.REJECTED: ("refused", "red"),
    Part.DROPPED: ("canceled", "gray"),
    Part.LOST: ("refused", "red"),
}
RESULT_LOOKS = {
    "succeeded": ("done", "green", "Succeeded"),
    "errored": ("refused", "red", "Errored"),
    "canceled": ("canceled", "gray", "Canceled"),
    "expired": ("expired", "amber", "Expired"),
    "missing": ("incomplete", "amber", "Missing"),
    "left_out": ("canceled", "gray", "Left out"),
    "not_chosen": ("queued", "gray", "Not chosen"),
    "not_sent": ("canceled", "gray", "Not sent"),
    "waiting": ("queued", "gray", "Waiting"),
    "unreadable": ("incomplete", "amber", "Unreadable"),
}
STEPS = (("file", "File"), ("recipe", "Recipe"), ("review", "Review"))


def look(batch: Batch) -> tuple[str, str]:
    """Icon and colour of the word; green only when every row of the file succeeded."""
    if was_canceled(batch):
        return "canceled", "gray"
    if batch.state != State.ENDED:
        return LOOKS[State(batch.state)]
    if batch.succeeded == 0:
        return "refused", "red"
    short = batch.not_succeeded + batch.not_sent + batch.left_out
    if short:
        return "partly", "amber"
    return "done", "gray" if batch.not_chosen else "green"


@register.simple_tag
def was_canceled(batch: Batch) -> bool:
    """Whether nothing came of it because somebody wanted it so."""
    if not batch.final:
        return False
    if batch.sent:
        return batch.canceled == batch.sent
    if batch.state == State.REFUSED:
        last = batch.runs.order_by("-pk").values_list("reason", flat=True).first()
        return last == NOT_BUILT
    others = batch.message_batches.exclude(state=Part.DROPPED, reason=NOT_SENT)
    return bool(batch.parts) and not others.exists()


def word(batch: Batch) -> str:
    return "Canceled" if look(batch)[0] == "canceled" else batch.get_state_display()


@register.inclusion_tag("batches/pill.html")
def pill(batch: Batch) -> dict[str, str]:
    icon, colour = look(batch)
    return {"icon": f"icons/{icon}.svg", "colour": colour, "word": word(batch)}


@register.inclusion_tag("batches/pill.html")
def part_pill(part: MessageBatch) -> dict[str, str]:
    icon, colour, said = part_look(part)
    return {"icon": f"icons/{icon}.svg", "colour": colour, "word": said}


def part_look(part: MessageBatch) -> tuple[str, str, str]:
    """Icon, colour and word; a part whose rows did not all succeed is stored, but not green."""
    if part.state == Part.STORED:
        whole = part.answers.get("succeeded", 0) == part.size
        return "done", "green" if whole else "gray", "Stored"
    if part.needs_person and part.state != Part.UNKNOWN:
        return "question", "amber", State.NEEDS_YOU.label
    if part.word == State.CANCELING and part.state != Part.UNKNOWN:
        return "canceling", "amber", "Canceling"
    if part.state == Part.SUBMITTED:
        return "running", "running", State(part.word).label
    return (*PART_LOOKS[Part(part.state)], part.get_state_display())


@register.inclusion_tag("batches/pill.html")
def result_pill(type: str) -> dict[str, str]:
    """Of one row: what came of it. A type newer than this program is shown under its own name."""
    icon, colour, said = RESULT_LOOKS.get(type, ("question", "amber", type))
    return {"icon": f"icons/{icon}.svg", "colour": colour, "word": said}


@register.simple_tag
def title_state(batch: Batch) -> str:
    """How a tab's title begins, so that one in the background tells how far it is."""
    if batch.state == State.IN_PROGRESS and batch.parts > 1:
        return f"{batch.parts_ended:,} of {batch.parts:,} parts"
    return "Done" if word(batch) == "Ended" and not batch.not_chosen else word(batch)


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


@register.filter
def row_word(batch: Batch) -> str:
    """What the numbers of its rows count: Row, or Line where the file has ready requests."""
    return batch.upload.row_word if batch.upload else "Row"


def may_open(batch: Batch, step: str) -> bool:
    """A file that is read opens the recipe; ready requests, or a recipe, open the review."""
    upload = batch.upload
    if upload is None or upload.state != Upload.State.READY:
        return False
    if upload.kind == Upload.Kind.REQUESTS:
        return step == "review"
    return step == "recipe" or bool(batch.recipe.get("model") and batch.recipe.get("prompt"))


@register.simple_tag
def started(batch: Batch) -> datetime:
    """When it was first sent, which may be days after its draft was begun."""
    first = batch.runs.order_by("pk").values_list("requested_at", flat=True).first()
    return first or batch.created_at


@register.simple_tag
def batch_url(batch: Batch, slug: str) -> str:
    """Where a Batch is opened: a draft at the step that it has come to."""
    name = step_of(batch) if batch.is_draft else "overview"
    return reverse(f"batches:{name}", kwargs={"slug": slug, "batch": batch.pk})


def step_of(batch: Batch) -> str:
    """The last of the three steps that can be opened."""
    return next((name for name in ("review", "recipe") if may_open(batch, name)), "file")


@register.filter
def part_succeeded(part: MessageBatch) -> int:
    """By the API's counts; of what is given up no more than came."""
    if part.state != Part.LOST:
        return part.succeeded
    return min(part.succeeded, part.proof.get("types", {}).get("succeeded", 0))


@register.filter
def part_not_succeeded(part: MessageBatch) -> int:
    return part.size - part_succeeded(part)


@register.filter
def part_took(part: MessageBatch) -> float:
    if part.created_at is None or part.ended_at is None:
        return 0
    return (part.ended_at - part.created_at).total_seconds()


@register.simple_tag
def moment(then: datetime | None) -> SafeString:
    """A time to the second, or a dash."""
    if then is None:
        return mark_safe(UNKNOWN)
    said = then.astimezone(UTC)
    return format_html(
        '<span title="{}">{} UTC</span>', then.isoformat(), said.strftime("%Y-%m-%d %H:%M:%S")
    )


@register.filter
def cost_bar(batch: Batch) -> Bar | None:
    """Estimate against actual, for a section that is there only where something is known."""
    return Bar.of(batch) if batch.parts else None


@register.filter
def short_model(name: str) -> str:
    """`haiku-4-5` where a column is narrow."""
    return DATED.sub("", name.removeprefix("claude-"))


@register.filter
def thousands(number: int | None) -> str:
    """9,997; and – for what nobody knows."""
    return UNKNOWN if number is None else f"{number:,}"


@register.filter
def megabytes(size: int) -> str:
    return say_size(size)


@register.filter
def rows(batch: Batch) -> str:
    """Of a draft, those that its file holds."""
    number = batch.rows or (batch.upload.rows if batch.upload else 0)
    return f"{number:,}" if number else UNKNOWN


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
