from typing import Any

import pytest

from streaming.forms import AskForm
from streaming.offers import Offers
from streaming.parameters import to_fields

BASE = {"model": "claude-sonnet-4-5", "max_tokens": 2000}


def through_the_form(parameters: dict[str, Any]) -> dict[str, Any]:
    """What is sent next where nothing in the panel is touched."""
    fields = {**to_fields(parameters), "token": "x", "prompt": "y"}
    form = AskForm({name: str(value) for name, value in fields.items()}, offers=Offers())
    assert form.is_valid(), form.errors
    return form.parameters


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"system": "Be brief.\n"},
        {"system": [{"type": "text", "text": "Brief", "cache_control": {"type": "ephemeral"}}]},
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"thinking": {"type": "disabled"}},
        {"thinking": {"type": "between_tools"}},
        {
            "tools": [{"name": "a", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "any"},
        },
        {"output_config": {"effort": "low"}},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {"output_config": {"effort": "low", "newer": 1, "format": {"type": "grammar"}}},
        {"stop_sequences": ["END", "\u2028"], "metadata": {"user_id": "ü"}},
    ],
)
def test_the_form_loses_nothing(more: dict[str, Any]) -> None:
    assert through_the_form({**BASE, **more}) == {**BASE, **more}


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ("claude-sonnet-4-5", False),
        ("claude-opus-4-6", False),
        ("claude-opus-4-7", True),
        ("claude-sonnet-5", True),
        ("claude-haiku-5-5-20261007", True),
        ("another", False),
    ],
)
def test_later_models_are_asked_for_the_text_of_their_thinking(model: str, shown: bool) -> None:
    thinking = {"type": "adaptive"}
    asked = through_the_form({"model": model, "max_tokens": 9, "thinking": thinking})["thinking"]
    assert asked == (thinking | {"display": "summarized"} if shown else thinking)
