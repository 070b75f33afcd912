"""Conversations as lists show them: with how the last turn stands, its model, all tokens."""

from collections.abc import Sequence
from typing import NamedTuple

from claude_api import read_usage
from streaming.explaining import look
from streaming.models import Conversation, Turn


class Listed(NamedTuple):
    conversation: Conversation
    turns: int = 0
    tokens: int = 0
    last: Turn | None = None

    @property
    def is_live(self) -> bool:
        return self.last is not None and self.last.is_live

    @property
    def model(self) -> str:
        return getattr(self.last, "model", "") or ""

    @property
    def icon(self) -> str:
        return f"icons/{look(self.last)[0] if self.last else 'draft'}.svg"

    @property
    def colour(self) -> str:
        return look(self.last)[1] if self.last else "gray"

    @property
    def word(self) -> str:
        return look(self.last)[2] if self.last else "Empty"


def read_listed(conversations: Sequence[Conversation]) -> list[Listed]:
    """Two queries, however many there are; prompts and answers are not read."""
    found = {conversation.pk: Listed(conversation) for conversation in conversations}
    columns = ("pk", "conversation_id", "number", "state", "stop_reason", "usage", "replaced_at")
    turns = Turn.objects.filter(conversation__in=found).order_by("conversation", "number")
    for row in turns.values(*columns, "parameters__model"):
        model = row.pop("parameters__model")
        turn = Turn(**row)
        turn.model = model  # type: ignore[attr-defined]
        found[turn.conversation_id] = _add(found[turn.conversation_id], turn)
    return list(found.values())


def _add(listed: Listed, turn: Turn) -> Listed:
    """Answers that were asked for anew are paid, too, but are no turns of it any more."""
    usage = read_usage(turn.usage)
    tokens = listed.tokens + usage.output_tokens + usage.input_tokens
    tokens += usage.cache_creation_input_tokens + usage.cache_read_input_tokens
    if turn.replaced_at is not None:
        return listed._replace(tokens=tokens)
    return listed._replace(tokens=tokens, turns=listed.turns + 1, last=turn)
