from datetime import timedelta
from typing import Any

import pytest

from leases.clock import database_now
from streaming.explaining import explain, look, raised_tokens
from streaming.models import Turn
from tests.streaming.turns import PARAMETERS

State = Turn.State


def turn_of(state: str, **fields: Any) -> Turn:
    return Turn(state=state, parameters=PARAMETERS, **fields)


@pytest.mark.parametrize("reason", ["end_turn", "stop_sequence"])
def test_a_whole_answer_is_green_and_needs_no_words(reason: str) -> None:
    turn = turn_of(State.DONE, stop_reason=reason)
    assert look(turn) == ("done", "green", "Done")
    assert explain(turn) is None


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("max_tokens", "Cut off at 200 tokens."),
        ("refusal", "Claude declined to answer (refusal)."),
        ("tool_use", "Claude called a tool."),
        ("pause_turn", "Claude paused a long turn."),
        ("model_context_window_exceeded", "The model's context is full"),
        ("solar_flare", "The answer ended with solar_flare."),
        ("", "The answer ended with no reason given."),
    ],
)
def test_nothing_else_is_green(reason: str, sentence: str) -> None:
    turn = turn_of(State.DONE, stop_reason=reason)
    ending = explain(turn)
    assert look(turn)[1] == "amber"
    assert ending is not None
    assert ending.sentence.startswith(sentence)


def test_a_refusal_may_be_explained_by_the_api() -> None:
    answer = {"stop_details": {"category": "bio", "explanation": "It asks for a weapon."}}
    ending = explain(turn_of(State.DONE, stop_reason="refusal", answer=answer))
    assert ending is not None
    assert ending.sentence.endswith("It asks for a weapon.")


@pytest.mark.parametrize(
    ("kind", "message", "field", "step"),
    [
        ("invalid_request_error", "max_tokens: must be above 0", "max_tokens", ""),
        ("invalid_request_error", "messages.0.content: empty", "messages.0.content", ""),
        ("invalid_request_error", "Your prompt: is odd", "", ""),
        ("authentication_error", "invalid x-api-key", "", "settings"),
        ("permission_error", "not yours", "", "settings"),
        ("not_found_error", "model: claude-x", "", "model"),
        ("rate_limit_error", "too many", "", "wait"),
        ("overloaded_error", "Overloaded", "", "wait"),
        ("api_error", "Internal", "", ""),
        ("", "The name cannot be looked up", "", ""),
    ],
)
def test_a_failure_says_what_helps(kind: str, message: str, field: str, step: str) -> None:
    reason = f"The API answers 400 {kind}: {message}."
    ending = explain(turn_of(State.FAILED, error_type=kind, reason=reason))
    assert ending is not None
    assert (ending.sentence, ending.field, ending.step) == (reason, field, step)
    assert ending.is_bad


def test_while_it_is_written_there_is_nothing_to_explain() -> None:
    now = database_now()
    for state in (State.QUEUED, State.STREAMING):
        assert explain(turn_of(state, asked_at=now - timedelta(hours=1))) is None


@pytest.mark.parametrize(
    ("given", "most", "raised"),
    [(300, None, 1200), (300, 1000, 1000), (1000, 1000, None), (2000, 1000, None), ("x", 9, None)],
)
def test_an_answer_may_be_given_more_room(given: Any, most: int | None, raised: int | None) -> None:
    turn = Turn(state=State.DONE, stop_reason="max_tokens", parameters={"max_tokens": given})
    assert raised_tokens(turn, most) == raised
