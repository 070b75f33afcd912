"""Which columns of the file stand beside the answers, and what each row has in them."""

from collections.abc import Sequence

from batches import archive
from batches.models import Batch
from batches.recipe import Template

MOST = 5
SHORT = 40  # characters; two columns that never have more stand side by side
LENGTH = 200  # characters of a cell
NONE = [""]  # kept where a person wants none; nothing kept is nothing said yet


def known_columns(batch: Batch) -> list[str]:
    return batch.upload.columns if batch.upload else []


def choose(batch: Batch, asked: Sequence[str]) -> list[str]:
    """Those asked for, else those that the Batch keeps, else what the prompt is about."""
    picked = asked or batch.columns or main_columns(batch)
    return [name for name in known_columns(batch) if name in picked][:MOST]


def main_columns(batch: Batch) -> list[str]:
    """Of the columns that the prompt names the longest, and the next one where both are short."""
    facts = batch.upload.column_facts if batch.upload else []
    longest = {
        name: fact.get("longest", 0)
        for name, fact in zip(known_columns(batch), facts, strict=False)
    }
    named = Template(batch.recipe.get("prompt", "")).columns
    first = sorted(named, key=lambda name: -longest.get(name, 0))[:2]
    are_short = all(longest.get(name, LENGTH) <= SHORT for name in first)
    return first if are_short else first[:1]


def keep(batch: Batch, asked: Sequence[str]) -> None:
    picked = [name for name in known_columns(batch) if name in asked]
    Batch.objects.filter(pk=batch.pk).update(columns=picked[:MOST] or NONE)


def read_cells(batch: Batch, columns: Sequence[str], rows: list[int]) -> dict[int, list[str]]:
    """Row number -> the beginnings of its cells."""
    upload = batch.upload
    if upload is None or upload.rows_fence is None or not columns:
        return {}
    places = [upload.columns.index(name) for name in columns]
    try:
        return {
            row.number: [row.cells[place][:LENGTH] for place in places if place < len(row.cells)]
            for row in archive.read_rows(upload.pk, upload.rows_fence, rows)
        }
    except FileNotFoundError:
        return {}
