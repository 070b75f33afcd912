"""The files in examples/ read as their README says, and come back as they went in."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import settings

from batches import archive, parsing, starting
from batches.exporting import write_export
from batches.limits import Limits
from batches.models import Batch, Upload
from batches.recipe import Recipe, check
from tests.batches.build import answer_part, make_part, make_run, make_workspace, succeeded

pytestmark = pytest.mark.django_db
EXAMPLES = Path(settings.BASE_DIR) / "examples"
RECIPE = Recipe(
    model="claude-haiku-4-5", prompt="Name the theme: {{review}}", max_tokens=20, id_column="id"
)


def read(name: str, recipe: Recipe | None) -> Batch:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    upload = starting.receive(EXAMPLES / name, make_workspace(), at)
    assert parsing.step(at)
    upload.refresh_from_db()
    return starting.draft(upload, name, recipe)


def test_reviews_have_two_broken_rows() -> None:
    batch = read("reviews.csv", RECIPE)
    upload = batch.upload
    assert (upload.state, upload.encoding, upload.delimiter) == (Upload.State.READY, "utf-8", ";")
    assert (upload.rows, upload.columns) == (200, ["id", "product", "language", "stars", "review"])
    assert check(RECIPE, upload.columns) == []
    assert [problem.row for problem in starting.find_problems(upload, RECIPE, Limits())] == [
        98,
        144,
    ]


def test_reviews_come_back_in_their_order(tmp_path: Path) -> None:
    batch = read("reviews.csv", RECIPE)
    rows = list(archive.iterate_rows(batch.upload_id, batch.upload.rows_fence))
    sent = {row.number: row.cells[0] for row in rows if row.number not in (98, 144)}
    part = make_part(make_run(batch, left_out={98: "double id"}), sent)
    answer_part(part, {row: succeeded(f"-theme of {own}") for row, own in sent.items()})
    counts = write_export(batch, tmp_path / "out.csv", exact=True)
    assert counts == {"succeeded": 198, "left_out": 2}
    with open(tmp_path / "out.csv", encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file, strict=True))
    assert [list(row.values())[:5] for row in written] == [row.cells for row in rows]
    assert all(
        row["text"] == f"-theme of {row['id']}" for row in written if row["result"] == "succeeded"
    )
    assert {row["language"] for row in written} == {"en", "de", "fr", "es", "zh", "ja"}


def test_requests_are_ready() -> None:
    batch = read("requests.jsonl", None)
    assert batch.upload.kind == Upload.Kind.REQUESTS
    assert (batch.upload.rows, batch.upload.problem_count) == (5, 0)
