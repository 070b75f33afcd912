import msgspec

from batches.archive import Row
from batches.limits import Limits, ReadyRenderer
from batches.recipe import Recipe, Rendered, check

MODELS = [
    {"id": "claude-haiku-4-5-20251001", "max_tokens": 64_000},
    {"id": "claude-opus-5", "max_tokens": 128_000},
    {"id": "claude-new", "max_tokens": None},
]


def render(model: str, max_tokens: int, models=MODELS):
    params = msgspec.json.encode({"model": model, "max_tokens": max_tokens, "messages": []})
    row = Row(7, own_id="mine", params=msgspec.Raw(params))
    return ReadyRenderer(Limits(models)).render(row)


def test_it_works() -> None:
    assert isinstance(render("claude-opus-5", 128_000), Rendered)
    [problem] = render("claude-opus-5", 128_001)
    assert problem.sentence("Line") == (
        "Line 7: max_tokens is 128,001, and claude-opus-5 answers with at most 128,000. "
        "Write a whole number from 1 to 128,000."
    )


def test_a_request_goes_byte_for_byte() -> None:
    params = b'{ "model":"claude-opus-5" , "max_tokens":9,"messages":[ ]}'
    row = Row(7, own_id="mine", params=msgspec.Raw(params))
    assert ReadyRenderer(Limits(MODELS)).render(row) == Rendered("mine", params)


def test_an_alias_has_the_limit_of_its_dated_model() -> None:
    assert Limits(MODELS).most_tokens("claude-haiku-4-5") == 64_000
    assert isinstance(render("claude-haiku-4-5", 64_001), list)


def test_what_is_not_known_is_not_objected_to() -> None:
    assert isinstance(render("claude-new", 10**9), Rendered)
    assert isinstance(render("claude-other", 10**9), Rendered)
    assert isinstance(render("claude-opus-5", 10**9, models=[]), Rendered)


def test_which_models_are_known() -> None:
    assert Limits(MODELS).knows("claude-haiku-4-5")
    assert not Limits(MODELS).knows("claude-haiku")
    assert Limits([]).knows("anything"), "without a list there is nothing to say"


def test_a_recipe_above_the_limit_is_a_problem_of_its_field() -> None:
    recipe = Recipe(model="claude-opus-5", prompt="Say {{text}}", max_tokens=200_000)
    assert check(recipe, ["text"]) == []
    [problem] = check(recipe, ["text"], most_tokens=128_000)
    assert problem.field == "max_tokens"
    assert problem.sentence() == (
        "max_tokens is 200,000. Write a whole number from 1 to 128,000, "
        "which is what claude-opus-5 answers with at most."
    )
