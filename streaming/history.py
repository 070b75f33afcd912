"""What of a conversation goes into the next request. Pure."""

import re
from collections.abc import Sequence
from typing import Any

from streaming.models import Turn

Message = dict[str, Any]
_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d+)(?:-(\d{1,2}))?(?=-|$)")
GO_ON = (
    "Your answer was interrupted. It ended with:\n\n{partial}\n\n"
    "Go on exactly where it stops, without repeating any of it."
)


def messages_for(turn: Turn, earlier: Sequence[Turn]) -> list[Message]:
    """The messages of a Turn's request; `earlier` are the standing Turns before it, in order.

    An answer that broke off and is gone on with is not in it: the Turn's own prompt holds it.
    What was asked and never answered, because the API refused it, is not in it either.
    """
    messages: list[Message] = []
    resumed = set(_chain(turn, earlier))
    for before in earlier:
        if before.state == Turn.State.FAILED and not before.content:
            # It was refused as it is, and would be again.
            continue
        # What asked to go on with an answer is no part of what was said.
        if before.continues_id is None:
            messages += before.prompt
        content = [] if before.pk in resumed else sendable(before)
        if content:
            messages.append({"role": "assistant", "content": content})
    return [*messages, *turn.prompt]


def _chain(turn: Turn, earlier: Sequence[Turn]) -> list[int]:
    """The Turn that this one goes on with, the one which that goes on with, and so on."""
    by_id = {before.pk: before for before in earlier}
    chain: list[int] = []
    before = by_id.get(turn.continues_id or 0)
    while before is not None:
        chain.append(before.pk)
        before = by_id.get(before.continues_id or 0)
    return chain


def sendable(turn: Turn) -> list[dict[str, Any]]:
    """The blocks of an answer that the API takes back.

    Thinking without its signature and a tool call that was cut off cannot be recovered.
    """
    return [kept for block in turn.content if (kept := _sendable(block)) is not None]


def _sendable(block: dict[str, Any]) -> dict[str, Any] | None:
    kind = block.get("type")
    if kind == "text":
        return block if block.get("text", "").strip() else None
    if kind == "thinking":
        return block if block.get("signature") else None
    if "partial_json" in block or "deltas" in block:
        return None
    return block


def partial_text(turn: Turn, earlier: Sequence[Turn]) -> str:
    """What was answered before it broke off, over all Turns that went on with it."""
    by_id = {before.pk: before for before in earlier}
    parts = [by_id[pk] for pk in reversed(_chain(turn, earlier))] + [turn]
    return "".join(
        block.get("text", "") for part in parts for block in part.content if block["type"] == "text"
    )


def prompt_to_go_on(turn: Turn, earlier: Sequence[Turn]) -> list[Message]:
    """How to ask for the rest of an answer that broke off: up to Claude 4.5 by beginning the
    answer, later by quoting it (platform docs, "Streaming: error recovery")."""
    partial = partial_text(turn, earlier).rstrip()
    if not partial:
        return []
    if takes_prefill(turn.parameters):
        return [{"role": "assistant", "content": partial}]
    return [{"role": "user", "content": GO_ON.format(partial=partial)}]


def takes_prefill(parameters: dict[str, Any]) -> bool:
    """Whether a request may end with the beginning of the answer."""
    thinking = (parameters.get("thinking") or {}).get("type", "disabled")
    if thinking != "disabled" or "format" in parameters.get("output_config", {}):
        return False
    version = version_of(parameters.get("model", ""))
    return version is not None and version <= (4, 5)


def version_of(model: str) -> tuple[int, int] | None:
    """(4, 5) of `claude-haiku-4-5-20251001`; None of what is named otherwise."""
    found = _VERSION.match(model)
    return (int(found[1]), int(found[2] or 0)) if found else None
