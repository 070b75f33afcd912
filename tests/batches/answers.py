"""Batches with answers, as collecting leaves them, for the people of the cast."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from batches import indexing
from batches.concerns import output_schema
from batches.models import Batch, MessageBatch, Result, Run
from tests.batches import build
from tests.cast import Cast

Answers = Mapping[int, dict[str, Any] | bytes]
CUT = build.succeeded("half an ans", stop_reason="max_tokens")
REFUSED = build.succeeded(stop_reason="refusal", content=[])
BUSY = build.errored("overloaded_error", "Overloaded")
WRONG = build.errored("invalid_request_error", "messages: at least one message is required")
EXPIRED, CANCELED = {"type": "expired"}, {"type": "canceled"}


def move_in(cast: Cast) -> None:
    """Give the cast's workspace the address under which `build` makes everything."""
    cast.workspace.slug = build.make_workspace.__defaults__[0]
    cast.workspace.save()


def make_batch(rows: int = 5, **fields: Any) -> Batch:
    """A Batch over rows 2, 3, … with an id and a text, of which nothing was sent."""
    cells = [[f"r-{number}", f"text {number}"] for number in range(2, rows + 2)]
    upload = build.make_upload(["id", "text"], build.table_rows(*cells))
    recipe = {"model": "claude-haiku-4-5", "prompt": "Label {{text}}", "id_column": "id"}
    values = {"rows": rows, "recipe": recipe, "columns": []}
    return build.make_batch(upload, **(values | fields))


def add_part(batch: Batch, rows: Sequence[int], run: Run | None = None, **fields: Any) -> Any:
    run = run or batch.runs.first() or build.make_run(batch, recipe=batch.recipe)
    part = build.make_part(run, {row: f"r-{row}" for row in rows}, **fields)
    with transaction.atomic():
        batch.recount()
    return part


def collect(part: MessageBatch, answers: Answers, state: str = "stored") -> None:
    """Store answers and count them, with their concerns."""
    build.answer_part(part, answers, state)
    schema, proof = output_schema(part.batch.recipe), indexing.scan(part)
    Result.objects.delete_part(part.pk)
    path = build.archive.results(part.pk, part.results_fence or 0)
    with open(path, "rb") as file:
        found = [
            indexing.make_result(request, proof, file, schema)
            for request in indexing.answered(part, proof)
        ]
    Result.objects.bulk_create(found)
    MessageBatch.objects.filter(pk=part.pk).update(**indexing.count_index(part))
    part.refresh_from_db()
    with transaction.atomic():
        part.batch.recount()


def answered(answers: Answers, rows: int | None = None, **fields: Any) -> Batch:
    """A Batch of one part, these answers in it."""
    batch = make_batch(rows or max(answers) - 1, **fields)
    collect(add_part(batch, sorted(answers)), answers)
    batch.refresh_from_db()
    return batch
