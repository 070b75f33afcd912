"""The first answers of a Batch beside their input: quality is judged here, not by counts."""

from typing import NamedTuple

from batches import archive
from batches.models import Batch, MessageBatch, Result
from batches.recipe import Template

SHOWN = 5
LOOKED_AT = 100
SUCCEEDED = Result.Type.SUCCEEDED
CELL = 300  # characters
CELLS = 20


class FirstAnswer(NamedTuple):
    row: int
    own_id: str
    input: list[str]
    answer: str


def first_answers(batch: Batch) -> list[FirstAnswer]:
    """Of the part that was stored first: what is shown stays where it is as others follow."""
    part = first_stored(batch)
    if part is None:
        return []
    # Chosen here, for an index over the whole Batch would be sorted for these five.
    first = Result.objects.of(part.pk).select_related("request").order_by("pk")[:LOOKED_AT]
    answered = [result for result in first if result.type == SUCCEEDED and not result.retried_in_id]
    return [
        FirstAnswer(one.row, one.request.own_id, read_input(batch, one.row), one.preview)
        for one in answered[:SHOWN]
    ]


def first_stored(batch: Batch) -> MessageBatch | None:
    parts = batch.message_batches
    stored = parts.filter(state=MessageBatch.State.STORED).order_by("stored_at")[:SHOWN]
    # What was given up keeps what had come; it is settled, too.
    lost = parts.filter(state=MessageBatch.State.LOST).order_by("part", "pk")[:SHOWN]
    return next((part for part in [*stored, *lost] if part.answers.get("succeeded")), None)


def read_input(batch: Batch, number: int) -> list[str]:
    """The cells that the prompt asks for; nothing for a ready request."""
    upload = batch.upload
    if upload is None or upload.rows_fence is None:
        return []
    try:
        row = archive.read_row(upload.pk, upload.rows_fence, number)
    except FileNotFoundError:
        return []
    if row is None or not row.cells:
        return []
    asked = Template(batch.recipe.get("prompt", "")).columns
    places = [upload.columns.index(name) for name in asked if name in upload.columns] or [0]
    return [row.cells[place][:CELL] for place in places[:CELLS]]
