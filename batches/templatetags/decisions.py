"""What a person has to decide about a Batch, for the head of its pages."""

from django import template

from batches.asking import parts_to_decide
from batches.deciding import aside
from batches.models import Batch, MessageBatch

register = template.Library()


@register.simple_tag
def part_to_decide(batch: Batch) -> MessageBatch | None:
    """The first of them; None where something else is needed."""
    return next(iter(parts_to_decide(batch)), None)


@register.simple_tag
def has_set_aside(batch: Batch) -> bool:
    """Whether something of it stopped so many workers that only a person starts it again."""
    return bool(aside(batch))
