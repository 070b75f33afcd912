import msgspec
import pytest

from batches.concerns import find_concern, fits, output_schema
from batches.models import Batch, MessageBatch, Result
from claude_api import read_result_line
from tests.batches.build import (
    answer_part,
    errored,
    make_batch,
    make_part,
    make_run,
    make_upload,
    succeeded,
    table_rows,
)

SCHEMA = {"type": "object", "required": ["label"]}


def concern_of(result: dict, schema: dict | None = None) -> str | None:
    line = msgspec.json.encode({"custom_id": "1_a", "result": result})
    return find_concern(read_result_line(line), line, schema)


@pytest.mark.parametrize(
    ("result", "concern"),
    [
        (succeeded("yes"), None),
        (succeeded("yes", stop_reason="stop_sequence"), None),
        (succeeded("yes", stop_reason="tool_use"), None),
        (succeeded("ye", stop_reason="max_tokens"), "max_tokens"),
        (succeeded("", stop_reason="refusal"), "refusal"),
        (succeeded("", stop_reason="a_later_one"), "a_later_one"),
        (errored("overloaded_error", "Overloaded"), "overloaded_error"),
        ({"type": "errored"}, "unnamed"),
        ({"type": "expired"}, None),
        ({"type": "a_later_type"}, "a_later_type"),
    ],
)
def test_it_says_why_a_person_should_look(result: dict, concern: str | None) -> None:
    assert concern_of(result) == concern


def test_an_answer_that_does_not_fit_the_output_format_is_a_concern() -> None:
    assert concern_of(succeeded('{"label": "good"}'), SCHEMA) is None
    assert concern_of(succeeded("It is good."), SCHEMA) == "unfit"
    assert concern_of(succeeded('{"la', stop_reason="max_tokens"), SCHEMA) == "max_tokens"


@pytest.mark.parametrize(
    ("text", "schema", "fit"),
    [
        ('{"label": 1}', SCHEMA, True),
        ("{}", SCHEMA, False),
        ("[]", SCHEMA, False),
        ("```json\n{}\n```", {"type": "object"}, False),
        ("true", {"type": "integer"}, True),  # in Python a kind of 1: not worth an alarm
        ("null", {"type": ["string", "null"]}, True),
        ("{}", {"anyOf": []}, True),
        ("{}", {"type": 7, "required": {"a": 1}}, True),
        ("\ud800", {}, False),
        ("[" * 100_000, {"type": "array"}, False),
    ],
)
def test_the_top_of_the_format_decides(text: str, schema: dict, fit: bool) -> None:
    assert fits(text, schema) is fit


def test_the_schema_is_found_where_a_recipe_may_have_it() -> None:
    assert output_schema({"output_format": SCHEMA}) == SCHEMA
    extra = {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
    assert output_schema({"extra": extra}) == SCHEMA
    assert output_schema({"extra": {"output_config": "low"}}) is None
    assert output_schema({}) is None


def test_a_batch_counts_the_concerns_of_its_parts(db: None) -> None:
    batch = make_batch(make_upload(["text"], table_rows(["a"], ["b"], ["c"], ["d"])))
    run = make_run(batch)
    cut = succeeded("ye", stop_reason="max_tokens")
    for rows, answers in (((2, 3), (cut, cut)), ((4, 5), (cut, errored("api_error", "x")))):
        part = make_part(run, rows)
        answer_part(part, dict(zip(rows, answers, strict=True)))
        part.concerns = part.count_concerns()
        part.save()
    batch.recount()
    counted = {"succeeded": {"max_tokens": 3}, "errored": {"api_error": 1}}
    assert Batch.objects.get().concerns == counted
    Result.objects.filter(row=2).update(retried_in=run)
    first = MessageBatch.objects.order_by("pk")[0]
    assert first.count_concerns() == {"succeeded": {"max_tokens": 1}}
