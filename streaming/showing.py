"""A Turn as pages show it: what was asked, the blocks of the answer, how it ended. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

from claude_api import read_usage
from streaming.explaining import Ending, explain, look, raised_tokens
from streaming.json_fields import write_json
from streaming.models import Turn
from streaming.offers import Offers
from streaming.snapshot import Snapshot

MARKED = 64_000  # characters of a text that are shown as Markdown
FOLDED = 600  # characters of a prompt, from where on it is folded
SHOWN = 200_000  # characters of one block on a page
WAITING = ("tool_use", "pause_turn")
SERVER_TOOLS = ("server_tool_use", "mcp_tool_use")


class Block(NamedTuple):
    """`kind` is text, thinking, tool, result, or the API's own word for what is unknown here."""

    number: int
    kind: str
    text: str
    title: str = ""
    failed: bool = False

    @property
    def shown(self) -> str:
        return self.text[:SHOWN]

    @property
    def is_cut(self) -> bool:
        return len(self.text) > SHOWN

    @property
    def is_marked(self) -> bool:
        return len(self.text) <= MARKED

    @property
    def head(self) -> str:
        return self.text[:FOLDED]

    @property
    def rest(self) -> str:
        return self.text[FOLDED:SHOWN]


class Said(NamedTuple):
    """A message of what was asked."""

    role: str
    blocks: list[Block]


class ShownTurn:
    def __init__(self, turn: Turn, *, is_last: bool, offers: Offers | None = None) -> None:
        self.turn, self.is_last = turn, is_last
        self._offers = offers or Offers()

    @property
    def pk(self) -> int:
        return self.turn.pk

    @property
    def icon(self) -> str:
        return f"icons/{self._look[0]}.svg"

    @property
    def colour(self) -> str:
        return self._look[1]

    @property
    def word(self) -> str:
        return self._look[2]

    @property
    def _look(self) -> tuple[str, str, str]:
        return ("done", "gray", "Done") if self._was_gone_on_with else look(self.turn)

    @property
    def _was_gone_on_with(self) -> bool:
        """Whether it only ended so that another turn goes on with it, and one did."""
        waiting = self.turn.state == Turn.State.DONE and self.turn.stop_reason in WAITING
        return waiting and not self.is_last

    @property
    def mark(self) -> str:
        """Changes whenever the Turn is to be drawn anew."""
        live = "live" if self.turn.is_live else self.turn.state
        return f"{self.pk}-{'replaced' if self.turn.replaced_at else live}-{int(self.is_last)}"

    @cached_property
    def messages(self) -> list[Said]:
        """What was asked; nothing where the turn goes on with an answer."""
        if self.turn.continues_id:
            return []
        return [
            Said(str(message.get("role", "")), read_blocks(message.get("content")))
            for message in self.turn.prompt
            if isinstance(message, dict)
        ]

    @cached_property
    def blocks(self) -> list[Block]:
        return read_blocks(self.turn.content)

    @property
    def text(self) -> str:
        return "\n\n".join(block.text for block in self.blocks if block.kind == "text")

    @property
    def model(self) -> str:
        return str(self.turn.answer.get("model") or self.turn.parameters.get("model", ""))

    @property
    def ending(self) -> Ending | None:
        return None if self._was_gone_on_with else explain(self.turn)

    @property
    def usage(self) -> Any:
        return read_usage(self.turn.usage)

    @property
    def tokens_in(self) -> int:
        usage = self.usage
        cached = usage.cache_creation_input_tokens + usage.cache_read_input_tokens
        return int(usage.input_tokens + cached)

    @property
    def first_token(self) -> float | None:
        """Seconds from the asking to the first word."""
        first = self.turn.first_token_at
        return max(0.0, (first - self.turn.asked_at).total_seconds()) if first else None

    @property
    def elapsed(self) -> int:
        """Milliseconds since the asking."""
        return max(0, int((datetime.now(UTC) - self.turn.asked_at).total_seconds() * 1000))

    @property
    def seconds(self) -> float | None:
        ended = self.turn.ended_at
        return (ended - self.turn.asked_at).total_seconds() if ended else None

    @property
    def per_second(self) -> float | None:
        first, ended = self.turn.first_token_at, self.turn.ended_at
        if not (first and ended) or self.turn.state != Turn.State.DONE:
            return None
        took = (ended - first).total_seconds()
        return self.usage.output_tokens / took if took >= 0.05 else None

    @property
    def asked_results(self) -> dict[int, dict[str, Any]]:
        """The calls of tools that the conversation waits for, by the number of their block."""
        done = self.turn.state == Turn.State.DONE and self.turn.stop_reason == "tool_use"
        return tool_calls(self.turn) if done and self.is_last else {}

    @property
    def broke_off(self) -> bool:
        return self.turn.state in (Turn.State.INTERRUPTED, Turn.State.FAILED)

    @property
    def raised(self) -> int | None:
        model = str(self.turn.parameters.get("model", ""))
        return raised_tokens(self.turn, self._offers.most_tokens(model))

    @property
    def may_go_on(self) -> bool:
        """Whether the rest of the answer can be asked for."""
        if not self.is_last or self.turn.is_live:
            return False
        is_part = self.turn.state != Turn.State.DONE or self.turn.stop_reason == "max_tokens"
        return self.turn.stop_reason == "pause_turn" or (is_part and bool(self.text.strip()))

    @property
    def editable(self) -> str | None:
        """The text that was asked, where it is one text and nothing else."""
        return editable_text(self.turn)


def tool_calls(turn: Turn) -> dict[int, dict[str, Any]]:
    blocks = enumerate(turn.content)
    return {number: block for number, block in blocks if block.get("type") == "tool_use"}


def editable_text(turn: Turn) -> str | None:
    if turn.continues_id or not turn.prompt or turn.prompt[-1].get("role") != "user":
        return None
    content = turn.prompt[-1].get("content")
    return content if isinstance(content, str) else None


def with_text(turn: Turn, text: str) -> list[dict[str, Any]]:
    """The prompt of a Turn with another text at its end."""
    return [*turn.prompt[:-1], {**turn.prompt[-1], "content": text}]


def read_blocks(content: Any) -> list[Block]:
    """The blocks of a message; a message that is a text is one."""
    if isinstance(content, str):
        return [Block(0, "text", content)]
    blocks = content if isinstance(content, list) else []
    return [_read(index, block) for index, block in enumerate(blocks) if isinstance(block, dict)]


def _read(index: int, block: dict[str, Any]) -> Block:
    kind = str(block.get("type", "unknown"))
    if kind == "text":
        return Block(index, "text", str(block.get("text", "")))
    if kind == "thinking":
        return Block(index, "thinking", str(block.get("thinking", "")))
    if kind == "tool_use" or kind in SERVER_TOOLS:
        text = block.get("partial_json") or write_json(block.get("input")) or "{}"
        return Block(index, "tool", text, title=str(block.get("name", "")))
    if kind == "tool_result":
        return Block(index, "result", _result(block), failed=bool(block.get("is_error")))
    return Block(index, kind, write_json(block))


def _result(block: dict[str, Any]) -> str:
    content = block.get("content", "")
    return content if isinstance(content, str) else write_json(content)


def so_far(turn: Turn, snapshot: Snapshot, length: int) -> Turn:
    """A live Turn with what has been stored of its answer; it is not to be saved."""
    turn.answer, turn.length = snapshot.message, length
    return turn


def show(turns: Sequence[Turn], offers: Offers) -> Iterator[ShownTurn]:
    """In order; the last one that stands can be gone on with."""
    standing = [turn.pk for turn in turns if turn.replaced_at is None]
    for turn in turns:
        yield ShownTurn(turn, is_last=turn.pk in standing[-1:], offers=offers)
