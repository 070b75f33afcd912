from typing import Any

import pytest

from batches.drafting import RecipeForm
from batches.limits import Limits
from batches.recipe import Recipe, Renderer
from tests.batches.build import table_rows
from tests.batches.drafts import make_model

COLUMNS = ["id", "city"]
SOUND = {"model": "claude-haiku-4-5", "prompt": "About {{city}}", "max_tokens": "60"}
LIMITS = Limits([make_model("claude-opus-5", 128_000, ["adaptive", "disabled"], effort=True)])


def said(limits: Limits | None = None, **typed: str) -> list[tuple[str, str]]:
    form = RecipeForm({**SOUND, **typed}, COLUMNS, limits)
    return [(problem.field, problem.sentence()) for problem in form.problems]


def test_what_is_typed_becomes_a_recipe() -> None:
    typed = {
        **SOUND,
        "model": " claude-haiku-4-5 ",
        "system": "Be short.\r\nBe kind.",
        "max_tokens": "4,096",
        "id_column": "id",
        "thinking": "enabled",
        "budget": "2048",
        "display": "omitted",
        "effort": "low",
        "tools": '[{"name": "look"}]',
        "tool_choice": '{"type": "auto"}',
        "output_format": '{"type": "object"}',
        "cache_system": "on",
        "extra": '{"stop_sequences": ["."]}',
    }
    assert RecipeForm(typed, COLUMNS).sound == Recipe(
        model="claude-haiku-4-5",
        prompt="About {{city}}",
        system="Be short.\nBe kind.",
        max_tokens=4096,
        id_column="id",
        thinking={"type": "enabled", "budget_tokens": 2048, "display": "omitted"},
        tools=[{"name": "look"}],
        tool_choice={"type": "auto"},
        output_format={"type": "object"},
        cache_system=True,
        extra={"stop_sequences": ["."], "output_config": {"effort": "low"}},
    )


def test_the_form_of_a_recipe_makes_that_recipe() -> None:
    recipe = {
        "model": "claude-opus-5",
        "prompt": "About {{city}}",
        "max_tokens": 5_000,
        "thinking": {"type": "adaptive", "display": "summarized"},
        "tools": [{"name": "look"}],
        "extra": {"metadata": {"user_id": "7"}, "output_config": {"effort": "max"}},
    }
    form = RecipeForm.of(recipe, COLUMNS)
    assert form.typed["effort"] == "max"
    assert form.typed["extra"] == '{\n  "metadata": {\n    "user_id": "7"\n  }\n}'
    assert form.sound is not None
    [row] = table_rows(("a", "Köln"))
    assert b'"effort":"max"' in Renderer(form.sound, COLUMNS).render(row).params
    assert RecipeForm(form.typed, COLUMNS).sound == form.sound


@pytest.mark.parametrize(
    ("typed", "field", "sentence"),
    [
        ({"max_tokens": "many"}, "max_tokens", "`many` is not a whole number. Write a whole"),
        ({"max_tokens": ""}, "max_tokens", "No number. Write a whole number from 1."),
        ({"max_tokens": "-1"}, "max_tokens", "`-1` is not a whole number."),
        ({"max_tokens": "9" * 30}, "max_tokens", f"`{'9' * 30}` is not a whole number."),
        ({"max_tokens": "٣"}, "max_tokens", "`٣` is not a whole number."),
        ({"tools": "[\n {x}]"}, "tools", "Line 2, column 3: expected a key"),
        ({"tools": "{}"}, "tools", "This is not a list of objects. Write it as in `[{"),
        ({"tools": "[1]"}, "tools", "This is not a list of objects."),
        ({"extra": "[]"}, "extra", "This is not an object. Write it as in `{"),
        ({"extra": '{"metadata": NaN}'}, "extra", "NaN is not valid JSON."),
        ({"extra": '{"a": 1, "a": 2}'}, "extra", "Key `a` is given twice."),
        ({"extra": '{"metadata": {"user_id": "\\u0000"}}'}, "extra", "`metadata.user_id`: NUL"),
        ({"extra": '{"metadata": "\\ud800"}'}, "extra", "`metadata`: half of a surrogate"),
        ({"extra": "{"}, "extra", "Line 1, column 2: it ends before it is whole."),
        ({"extra": "{} 1"}, "extra", "Line 1, column 4: expected nothing more."),
        ({"extra": '{"metadata": ' + "[" * 80 + "]" * 80 + "}"}, "extra", "Nested deeper than 64."),
        ({"extra": "[" * 100_000}, "extra", "Nested too deep to read."),
        ({"output_format": '{"type": True}'}, "output_format", "Line 1, column 10: JSON does not"),
        ({"thinking": "enabled", "budget": ""}, "thinking", "No number. Write a whole number from"),
        ({"effort": "low", "extra": '{"output_config": {"effort": "max"}}'}, "effort", "Effort is"),
    ],
)
def test_each_problem_is_at_its_field(typed: dict[str, str], field: str, sentence: str) -> None:
    [(found, what)] = said(**typed)
    assert found == field
    assert what.startswith(sentence)


def test_all_problems_come_at_once_in_the_order_of_the_page() -> None:
    found = said(extra="x", tools="x", max_tokens="x", model="", prompt="{{town}}")
    assert [field for field, _ in found] == ["model", "prompt", "max_tokens", "tools", "extra"]


def test_a_wrong_name_says_what_is_meant() -> None:
    [problem] = RecipeForm({**SOUND, "prompt": "{{ citty }}"}, COLUMNS).problems
    assert (problem.wrong, problem.right) == ("citty", "city")


def test_what_is_not_typed_yet_is_no_error_while_typing() -> None:
    blank = RecipeForm.of({}, COLUMNS)
    assert blank.begun == []
    assert [problem.field for problem in blank.problems] == ["model", "prompt"]
    assert RecipeForm({**SOUND, "prompt": "{{"}, COLUMNS).begun


def test_a_model_is_not_asked_for_what_it_cannot() -> None:
    asked: dict[str, Any] = {"model": "claude-opus-5", "max_tokens": "4096"}
    assert said(LIMITS, thinking="adaptive", effort="high", **asked) == []
    [(field, what)] = said(LIMITS, thinking="enabled", budget="2048", **asked)
    assert (field, what) == (
        "thinking",
        "claude-opus-5 does not take thinking `enabled`. Choose another.",
    )
    [(field, _)] = said(LIMITS, model="claude-opus-5", max_tokens="128001")
    assert field == "max_tokens"
    assert (
        said(LIMITS, model="claude-x", thinking="enabled", budget="2048", max_tokens="4096") == []
    )


def test_text_that_no_database_takes_is_made_fit() -> None:
    assert RecipeForm({"prompt": "a\0b\ud800"}, []).typed["prompt"] == "a\ufffdb\ufffd"
