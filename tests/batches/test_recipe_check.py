"""What is wrong with a recipe itself."""

from typing import Any

import pytest

from batches.problems import Problem
from batches.recipe import Recipe, check

COLUMNS = ["id", "city", "Full Name"]
SCHEMA = {"type": "object", "properties": {}}


def found(**fields: Any) -> list[Problem]:
    return check(Recipe(**{"model": "claude-haiku-4-5", "prompt": "{{city}}", **fields}), COLUMNS)


def test_a_sound_recipe_has_no_problems() -> None:
    assert found() == []
    assert (
        found(
            system="You are {{ Full Name }}; \\{{ stays.",
            id_column="id",
            max_tokens=2_000,
            thinking={"type": "enabled", "budget_tokens": 1_024},
            tools=[{"name": "look", "input_schema": SCHEMA}],
            tool_choice={"type": "auto"},
            output_format=SCHEMA,
            extra={"stop_sequences": ["."], "output_config": {"effort": "low"}},
        )
        == []
    )


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"model": ""}, "model", "No model."),
        ({"model": "claude haiku"}, "model", "`claude haiku` is not a model's id"),
        ({"prompt": " \n"}, "prompt", "The prompt is empty."),
        ({"prompt": "Write a poem."}, "prompt", "The prompt names no column: every row would"),
        ({"prompt": "{{citty}}"}, "prompt", "`{{citty}}`: no such column. Did you mean `city`?"),
        ({"prompt": "{{CITY}}"}, "prompt", "`{{CITY}}`: no such column. Did you mean `city`?"),
        ({"prompt": "{{xyz}}"}, "prompt", "`{{xyz}}`: no such column. Columns: `id`, `city`"),
        ({"prompt": "{{}} {{id}}"}, "prompt", "`{{}}`: no such column."),
        ({"prompt": "{{#each city}}"}, "prompt", "`{{#each city}}`: no such column."),
        ({"prompt": "a\n{{city"}, "prompt", "The prompt, line 2: `{{` is not closed."),
        ({"prompt": "{{city}}\0"}, "prompt", "The prompt has a NUL character at position 9."),
        ({"system": "{{ full name }}"}, "system", "`{{full name}}`: no such column. Did you"),
        ({"id_column": "ID"}, "id_column", "`ID`: no such column to identify the rows by. Did"),
        ({"max_tokens": 0}, "max_tokens", "max_tokens is 0. Write a whole number from 1."),
        (
            {"max_tokens": 10**30},
            "max_tokens",
            f"max_tokens is {10**30:,}. Write a whole number from 1 to 1,000,000,000.",
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 4_000}},
            "thinking",
            "thinking.budget_tokens is 4,000, max_tokens is 1,024.",
        ),
        ({"tools": [{"name": "a b"}]}, "tools", "Tool 1 has no name that the API takes."),
        ({"tools": [{"name": "a"}, {"name": "a"}]}, "tools", "Tools 1 and 2 are both named `a`."),
        ({"tool_choice": {"type": "any"}}, "tool_choice", "tool_choice without tools."),
        ({"output_format": {}}, "output_format", "The output format is not a JSON schema"),
        ({"extra": {"temperature": 1}}, "extra", "`temperature` is refused by the API since"),
        ({"extra": {"top_p": 1}}, "extra", "`top_p` is refused"),
        ({"extra": {"top_k": 1}}, "extra", "`top_k` is refused"),
        ({"extra": {"stream": True}}, "extra", "`stream` is not allowed in a batch. Delete it."),
        ({"extra": {"speed": "fast"}}, "extra", "`speed` is not allowed in a batch."),
        ({"extra": {"model": "m"}}, "extra", "`model` is set in extra parameters."),
        ({"extra": {"max_tokens": 1}}, "extra", "`max_tokens` is set in extra parameters."),
        (
            {"extra": {"stop_sequence": ["."]}},
            "extra",
            "`stop_sequence`: no such parameter of the Messages API. Did you mean `stop_seq",
        ),
        ({"extra": {"output_config": 1}}, "extra", "output_config is not an object."),
        (
            {"extra": {"output_config": {"format": {}}}, "output_format": SCHEMA},
            "extra",
            "The output format is given twice.",
        ),
    ],
)
def test_a_problem_names_its_field(fields: dict[str, Any], field: str, sentence: str) -> None:
    (problem,) = found(**fields)
    assert (problem.field, problem.row) == (field, 0)
    assert problem.sentence().startswith(sentence)


def test_all_problems_are_told() -> None:
    problems = found(model="", prompt="{{a}} {{b}}\n{{", max_tokens=0, id_column="x")
    assert [problem.field for problem in problems] == [
        "model",
        "prompt",
        "prompt",
        "prompt",
        "id_column",
        "max_tokens",
    ]


def test_an_older_version_takes_a_temperature() -> None:
    recipe = Recipe(model="m", prompt="{{city}}", extra={"temperature": 0.5})
    assert check(recipe, COLUMNS, api_version="2023-06-01") == []
