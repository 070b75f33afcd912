"""Rendering: one row and a recipe are one request, or its problems."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from batches.archive import Row
from batches.problems import Problem
from batches.recipe import REQUEST_LIMIT, Recipe, Rendered, Renderer, Template, digest, ready

COLUMNS = ["id", "text", "名 前"]


def recipe(prompt: str = "Label: {{text}}", **fields: Any) -> Recipe:
    return Recipe(model="claude-haiku-4-5", prompt=prompt, **fields)


def rendered(given: Recipe, *cells: str) -> dict[str, Any]:
    result = Renderer(given, COLUMNS).render(Row(2, cells=list(cells)))
    assert isinstance(result, Rendered)
    return json.loads(result.params)


def problems(result: Rendered | list[Problem]) -> list[str]:
    assert isinstance(result, list)
    return [problem.sentence() for problem in result]


def test_a_row_becomes_a_request() -> None:
    result = Renderer(recipe(), COLUMNS).render(Row(7, cells=["a", "so “good”", ""]))
    assert result == Rendered(
        "7",
        '{"model":"claude-haiku-4-5","max_tokens":1024,"messages":'
        '[{"role":"user","content":"Label: so “good”"}]}'.encode(),
    )


def test_everything_of_a_recipe_is_sent() -> None:
    schema = {"type": "object", "properties": {}}
    tool = {"name": "look", "input_schema": {"type": "object"}}
    params = rendered(
        recipe(
            system="You are {{名 前}}.",
            max_tokens=5,
            thinking={"type": "adaptive"},
            tools=[tool],
            tool_choice={"type": "auto"},
            output_format=schema,
            cache_system=True,
            extra={"stop_sequences": ["."], "output_config": {"effort": "low"}},
        ),
        "1",
        "x",
        "花子",
    )
    cached = {"type": "ephemeral", "ttl": "1h"}
    assert params == {
        "model": "claude-haiku-4-5",
        "max_tokens": 5,
        "thinking": {"type": "adaptive"},
        "tools": [tool],
        "tool_choice": {"type": "auto"},
        "stop_sequences": ["."],
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": schema}},
        "system": [{"type": "text", "text": "You are 花子.", "cache_control": cached}],
        "messages": [{"role": "user", "content": "Label: x"}],
    }


def test_a_system_that_is_empty_for_a_row_is_left_away() -> None:
    assert "system" not in rendered(recipe(system="{{id}}"), "", "x", "")


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("{{ text }} and {{text}}", "T and T"),
        ("{{名 前}}", "N"),
        ("\\{{text}} stays", "{{text}} stays"),
        ('{"a": {"b": "{{text}}"}}', '{"a": {"b": "T"}}'),
        ("{{{text}}}", "{T}"),
        ("{text} 100%% %s", "{text} 100%% %s"),
    ],
)
def test_templates(text: str, result: str) -> None:
    assert Template(text).render({"text": "T", "名 前": "N"}) == result


def test_what_is_put_in_is_not_read_again() -> None:
    params = rendered(recipe("{{text}}{{id}}"), "}}", "{{id}} {{", "")
    assert params["messages"][0]["content"] == "{{id}} {{}}"


@given(st.text(), st.text())
def test_any_value_arrives_as_it_is(before: str, value: str) -> None:
    text = before.replace("{", "").replace("\\", "") + "{{a}}"
    assert Template(text).render({"a": value}) == text.removesuffix("{{a}}") + value


def test_columns_of_a_template_come_once_in_order() -> None:
    assert Template("{{b}} {{ a }} {{b}} \\{{c}}").columns == ["b", "a"]


def test_an_open_brace_names_its_line() -> None:
    template = Template("one\n{{two\n{{three}}\n{{")
    assert (template.unclosed, template.columns) == ([2, 4], ["three"])


def test_many_open_braces_take_no_time() -> None:
    assert len(Template("{{ " * 100_000 + " " * 100_000).unclosed) == 100_000


def test_an_id_column_names_the_rows() -> None:
    renderer = Renderer(recipe(id_column="id"), COLUMNS)
    results = [renderer.render(Row(n, cells=[f" a{n} ", "x", ""])) for n in (2, 3)]
    assert [result.own_id for result in results if isinstance(result, Rendered)] == ["a2", "a3"]


def test_an_id_given_twice_names_both_rows() -> None:
    renderer = Renderer(recipe(id_column="id"), COLUMNS)
    assert isinstance(renderer.render(Row(3, cells=["7", "x", ""])), Rendered)
    assert problems(renderer.render(Row(9, cells=["7", "y", ""]))) == [
        "Row 9, column `id`: id `7` is in rows 3 and 9. Give one of them another id. "
        "Or identify the rows by their number."
    ]


def test_a_row_may_be_rendered_twice_for_a_preview() -> None:
    renderer = Renderer(recipe(id_column="id"), COLUMNS)
    first, second = (renderer.render(Row(3, cells=["7", "x", ""])) for _ in range(2))
    assert first == second


def test_every_problem_of_a_row_is_told() -> None:
    result = Renderer(recipe("{{text}}{{名 前}}", id_column="id"), COLUMNS).render(
        Row(4, cells=[" ", "a\0", "b\ud800"])
    )
    places = [problem.split(":")[0] for problem in problems(result)]
    assert places == ["Row 4, column `id`", "Row 4, column `text`", "Row 4, column `名 前`"]


def test_a_row_that_would_ask_nothing() -> None:
    result = Renderer(recipe(), COLUMNS).render(Row(4, cells=["1", " \n", "x"]))
    assert problems(result)[0].startswith("Row 4: every column that the prompt uses is empty.")


def test_a_request_above_32_megabytes() -> None:
    text = "x" * (REQUEST_LIMIT // 2)
    result = Renderer(recipe("{{text}}{{text}}"), COLUMNS).render(Row(4, cells=["1", text, ""]))
    assert problems(result) == [
        "Row 4: the request is 32.0 MB, the limit is 32 MB. Shorten its cells."
    ]


def test_a_row_that_parsing_refused_is_not_rendered() -> None:
    row = Row(4, "Row 4: 1 of 3 cells.", cells=["1", "x", ""])
    assert problems(Renderer(recipe(), COLUMNS).render(row)) == ["Row 4: 1 of 3 cells."]


def test_ready_requests_pass_as_they_are() -> None:
    params = b'{ "model":"m" }'
    assert ready(Row(3, own_id="a", params=Raw(params))) == Rendered("a", params)
    assert ready(Row(3, params=Raw(params))).own_id == "3"


def test_equal_recipes_have_one_digest() -> None:
    short = {"model": "m", "prompt": "p"}
    full = {"max_tokens": 1024, "system": "", "prompt": "p", "model": "m"}
    assert digest(short) == digest(full)
    assert len({digest(short), digest({**short, "system": "s"}), digest({})}) == 3
