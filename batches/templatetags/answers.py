"""What came back for a row, as pages show it."""

from typing import Any

from django import template
from django.utils.safestring import SafeString

from batches import json_text
from batches.concerns import UNFIT
from batches.models import Batch
from batches.templatetags.batch_rows import result_pill
from workspaces import markdown as markdown_of_models

register = template.Library()
# Answers that succeeded and are worth a look: icon and word.
LOOKS = {
    "max_tokens": ("partly", "Cut off"),
    "refusal": ("canceled", "Refused"),
    "pause_turn": ("partly", "Paused"),
    "model_context_window_exceeded": ("partly", "Context full"),
    UNFIT: ("question", "Wrong format"),
}


def look(concern: str) -> tuple[str, str]:
    return LOOKS.get(concern, ("question", concern.replace("_", " ").capitalize()))


@register.inclusion_tag("batches/pill.html")
def answer_pill(kind: str, concern: str | None = None) -> dict[str, str]:
    """Green only where nobody needs to look."""
    if kind != "succeeded" or not concern:
        return result_pill(kind)
    icon, word = look(concern)
    return {"icon": f"icons/{icon}.svg", "colour": "amber", "word": word}


@register.simple_tag
def problem_count(batch: Batch) -> str:
    """For the tab: how many rows need a person; nothing where none does."""
    return f"{batch.problem_count:,}" if batch.problem_count else ""


@register.filter
def markdown(text: str) -> SafeString:
    return markdown_of_models.render(text)


@register.filter
def one_line(text: str) -> str:
    return " ".join(text.split())


@register.inclusion_tag("batches/code.html")
def code_text(title: str, text: str, id: str, raw: str = "") -> dict[str, Any]:
    """A figure with a [Copy] button around JSON that is indented already."""
    is_cut = len(text) > json_text.SHOWN
    return {"title": title, "code": json_text.mark(text), "id": id, "raw": raw, "is_cut": is_cut}
