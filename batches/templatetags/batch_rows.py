"""What the cells of a Batch say."""

from django import template

from batches.models import Batch

register = template.Library()
UNKNOWN = "–"
State = Batch.State
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


def look(batch: Batch) -> tuple[str, str]:
    """Icon and colour of the word; green only when every row of the file succeeded."""
    if batch.state != State.ENDED:
        return LOOKS[State(batch.state)]
    if batch.sent and batch.canceled == batch.sent:
        return "canceled", "gray"
    if batch.succeeded == 0:
        return "refused", "red"
    short = not_succeeded_count(batch) + batch.not_sent + batch.left_out
    return ("partly", "amber") if short else ("done", "green")


@register.inclusion_tag("batches/pill.html")
def pill(batch: Batch) -> dict[str, str]:
    icon, colour = look(batch)
    word = "Canceled" if icon == "canceled" else batch.get_state_display()
    return {"icon": f"icons/{icon}.svg", "colour": colour, "word": word}


@register.filter
def rows(batch: Batch) -> str:
    return f"{batch.rows:,}" if batch.rows else UNKNOWN


@register.filter
def succeeded(batch: Batch) -> str:
    return counted(batch, batch.succeeded)


@register.filter
def not_succeeded(batch: Batch) -> str:
    return counted(batch, not_succeeded_count(batch))


@register.filter
def not_succeeded_count(batch: Batch) -> int:
    """Rows that were sent and came back without an answer."""
    return batch.answered - batch.succeeded


@register.filter
def parts(batch: Batch) -> str:
    return f"{batch.parts_ended:,}/{batch.parts:,}" if batch.parts else UNKNOWN


def counted(batch: Batch, count: int) -> str:
    """Counts are known only once something was answered: until then nobody knows, not zero."""
    return f"{count:,}" if batch.state == State.ENDED or batch.answered else UNKNOWN
