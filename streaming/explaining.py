"""How a Turn stands, in a word, a sentence and what can be done next. Pure."""

import re
from typing import NamedTuple

from streaming.models import Turn

State = Turn.State
# Icon, colour and word.
LOOKS = {
    State.QUEUED: ("queued", "gray", "Waiting"),
    State.STREAMING: ("running", "running", "Writing"),
    State.DONE: ("done", "green", "Done"),
    State.STOPPED: ("canceled", "gray", "Stopped"),
    State.INTERRUPTED: ("incomplete", "amber", "Interrupted"),
    State.FAILED: ("refused", "red", "Failed"),
}
# Of answers that ended by themselves, and are worth a look.
STOPS = {
    "max_tokens": ("partly", "amber", "Cut off"),
    "refusal": ("canceled", "amber", "Refused"),
    "tool_use": ("question", "amber", "Needs a result"),
    "pause_turn": ("partly", "amber", "Paused"),
    "model_context_window_exceeded": ("partly", "amber", "Context full"),
}
ENOUGH = ("end_turn", "stop_sequence")
RAISED = 4  # times as many tokens for an answer that was cut off
# A field of the request, with which the API begins its message.
_FIELD = re.compile(r": ([a-z_]+(?:\.[a-z0-9_]+|\[\d+\])*): ")


class Ending(NamedTuple):
    """What is said of a Turn that has ended otherwise than usual. `step` is what it offers."""

    sentence: str
    is_bad: bool = False
    field: str = ""
    step: str = ""  # settings, wait, model


def look(turn: Turn) -> tuple[str, str, str]:
    """Icon, colour and word; green only where the answer is whole and nobody needs to look."""
    if turn.state == State.DONE and turn.stop_reason not in ENOUGH:
        unknown = ("question", "amber", turn.stop_reason.replace("_", " ") or "Done")
        return STOPS.get(turn.stop_reason, unknown)
    return LOOKS[State(turn.state)]


def explain(turn: Turn) -> Ending | None:
    """Why it ended, where that needs words."""
    if turn.state == State.DONE:
        return _explain_stop(turn)
    if turn.state == State.STOPPED:
        by = turn.stop_requested_by
        return Ending(f"Stopped by {by.get_username()}." if by else "Stopped.")
    if turn.state == State.INTERRUPTED:
        return Ending(turn.reason)
    return _explain_failure(turn) if turn.state == State.FAILED else None


def _explain_stop(turn: Turn) -> Ending | None:
    reason, most = turn.stop_reason, turn.parameters.get("max_tokens", 0)
    if reason in ENOUGH:
        return None
    if reason == "max_tokens":
        return Ending(f"Cut off at {most:,} tokens.")
    if reason == "refusal":
        details = turn.answer.get("stop_details") or {}
        said = details.get("explanation") or "" if isinstance(details, dict) else ""
        return Ending(f"Claude declined to answer (refusal). {said}".strip())
    if reason == "pause_turn":
        return Ending("Claude paused a long turn. What it has found so far is kept.")
    if reason == "model_context_window_exceeded":
        return Ending(
            "The model's context is full: the conversation and the answer did not fit. "
            "Begin a new conversation, or ask for less."
        )
    if reason == "tool_use":
        return Ending("Claude called a tool. Say what it gave, and the turn goes on.")
    return Ending(f"The answer ended with {reason or 'no reason given'}.")


def _explain_failure(turn: Turn) -> Ending:
    kind, reason = turn.error_type, turn.reason
    if kind == "invalid_request_error":
        found = _FIELD.search(reason)
        return Ending(reason, is_bad=True, field=found[1] if found else "")
    if kind in ("authentication_error", "permission_error", "billing_error"):
        return Ending(reason, is_bad=True, step="settings")
    if kind == "not_found_error":
        return Ending(reason, is_bad=True, step="model")
    if kind in ("rate_limit_error", "overloaded_error"):
        return Ending(reason, is_bad=True, step="wait")
    return Ending(reason, is_bad=True)


def raised_tokens(turn: Turn, most: int | None) -> int | None:
    """With how many tokens an answer that was cut off may be tried again."""
    given = turn.parameters.get("max_tokens")
    if turn.stop_reason != "max_tokens" or not isinstance(given, int) or given < 1:
        return None
    raised = min(given * RAISED, most or given * RAISED)
    return raised if raised > given else None
