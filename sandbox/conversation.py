"""What the API refuses in `system` and `messages`."""

import re
from collections.abc import Iterator
from typing import Any

from sandbox.errors import invalid
from sandbox.models import Model

NEWER_VERSION = "2026-10-21"
ROLES = ("user", "assistant", "system")
MOST_MESSAGES = 100_000
MOST_MARKERS = 4
TOOL_ID = re.compile(r"[a-zA-Z0-9_-]+")
BLOCKS = (
    "text", "image", "document", "search_result", "thinking", "redacted_thinking", "tool_use",
    "tool_result", "server_tool_use", "web_search_tool_result", "web_fetch_tool_result",
    "code_execution_tool_result", "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result", "tool_search_tool_result", "container_upload",
)  # fmt: skip
REQUIRED = {
    "text": ("text",),
    "image": ("source",),
    "document": ("source",),
    "tool_use": ("id", "name", "input"),
    "tool_result": ("tool_use_id",),
    "thinking": ("thinking", "signature"),
}

Block = dict[str, Any]


def check_messages(body: dict[str, Any], version: str, model: Model) -> None:
    messages = body["messages"]
    if not isinstance(messages, list):
        raise invalid("messages: Input should be a valid list")
    if not messages:
        raise invalid("messages: at least one message is required")
    if len(messages) > MOST_MESSAGES:
        raise invalid(
            f"messages: List should have at most {MOST_MESSAGES} items after validation, "
            f"not {len(messages)}"
        )
    for position, message in enumerate(messages):
        is_last = position == len(messages) - 1
        _check_message(message, f"messages.{position}", is_last, version)
    _check_turns(messages, model)
    _check_system(body.get("system"))
    _check_markers(body)


def _check_message(message: Any, place: str, is_last: bool, version: str) -> None:
    if not isinstance(message, dict):
        raise invalid(f"{place}: Input should be a valid dictionary")
    for name in ("role", "content"):
        if name not in message:
            raise invalid(f"{place}.{name}: Field required")
    for name in message:
        if name not in ("role", "content"):
            raise invalid(f"{place}.{name}: Extra inputs are not permitted")
    if message["role"] not in ROLES:
        raise invalid(f"{place}.role: Input should be 'user', 'assistant' or 'system'")
    content = message["content"]
    if not isinstance(content, str | list):
        raise invalid(f"{place}.content: Input should be a valid string or list")
    if not content and not (is_last and message["role"] == "assistant"):
        raise invalid(
            f"{place}: all messages must have non-empty content except for the optional final "
            "assistant message"
        )
    if isinstance(content, list):
        for position, block in enumerate(content):
            check_block(block, f"{place}.content.{position}")
            _check_newer(block, message["role"], f"{place}.content.{position}", version)


def check_block(block: Any, place: str) -> None:
    if not isinstance(block, dict):
        raise invalid(f"{place}: Input should be a valid dictionary")
    kind = block.get("type")
    if kind is None:
        raise invalid(f"{place}.type: Field required")
    if kind not in BLOCKS:
        expected = ", ".join(f"'{name}'" for name in BLOCKS)
        raise invalid(
            f"{place}: Input tag '{kind}' found using 'type' does not match any of the expected "
            f"tags: {expected}"
        )
    for name in REQUIRED.get(kind, ()):
        if name not in block:
            raise invalid(f"{place}.{kind}.{name}: Field required")
    if kind == "text":
        _check_text(block["text"], place)
    if kind == "tool_result":
        _check_result(block.get("content"), f"{place}.tool_result.content")
    for name in ("id", "tool_use_id"):
        if name in block and not (isinstance(block[name], str) and TOOL_ID.fullmatch(block[name])):
            raise invalid(
                f"{place}.{kind}.{name}: String should match pattern '^{TOOL_ID.pattern}$'"
            )


def _check_text(text: Any, place: str) -> None:
    if not isinstance(text, str):
        raise invalid(f"{place}.text.text: Input should be a valid string")
    if not text:
        raise invalid("messages: text content blocks must be non-empty")


def _check_result(content: Any, place: str) -> None:
    if not isinstance(content, str | list | None):
        raise invalid(f"{place}: Input should be a valid string or list")
    for position, block in enumerate(content if isinstance(content, list) else []):
        check_block(block, f"{place}.{position}")


def _check_newer(block: Block, role: str, place: str, version: str) -> None:
    """Two of the differences that version 2026-10-21 makes."""
    if version != NEWER_VERSION:
        return
    if role == "assistant" and block["type"] == "document":
        raise invalid(f"{place}: document blocks are not permitted in assistant messages")
    if role == "user":
        inner = block.get("content") if block["type"] == "search_result" else None
        for text in [block, *(inner if isinstance(inner, list) else [])]:
            if isinstance(text, dict) and text.get("type") == "text" and text.get("citations"):
                raise invalid(f"{place}.citations: citations are not permitted in user messages")


def _check_turns(messages: list[Block], model: Model) -> None:
    turns = [message for message in messages if message["role"] != "system"]
    if not turns:
        raise invalid("messages: at least one message is required")
    if turns[0]["role"] == "assistant":
        raise invalid('messages: first message must use the "user" role')
    if turns[-1]["role"] == "assistant" and not model.prefill:
        raise invalid(
            "This model does not support assistant message prefill. "
            "The conversation must end with a user message."
        )
    for position, message in enumerate(messages):
        following = messages[position + 1] if position + 1 < len(messages) else None
        _check_calls(position, message, following)
        if message["role"] == "user":
            _check_tool_results(position, message, messages[position - 1] if position else None)


def _blocks(message: Block | None, kind: str) -> Iterator[tuple[int, Block]]:
    content = message["content"] if message else []
    if isinstance(content, list):
        for position, block in enumerate(content):
            if block["type"] == kind:
                yield position, block


def _check_calls(position: int, message: Block, following: Block | None) -> None:
    if following is None or message["role"] != "assistant":
        return
    answered = {block["tool_use_id"] for _, block in _blocks(following, "tool_result")}
    open_ids = [
        block["id"] for _, block in _blocks(message, "tool_use") if block["id"] not in answered
    ]
    if open_ids:
        raise invalid(
            f"messages.{position}: `tool_use` ids were found without `tool_result` blocks "
            f"immediately after: {', '.join(open_ids)}. Each `tool_use` block must have a "
            "corresponding `tool_result` block in the next message."
        )


def _check_tool_results(position: int, message: Block, previous: Block | None) -> None:
    called = {block["id"] for _, block in _blocks(previous, "tool_use")}
    for index, block in _blocks(message, "tool_result"):
        if block["tool_use_id"] not in called:
            raise invalid(
                f"messages.{position}.content.{index}: unexpected `tool_use_id` found in "
                f"`tool_result` blocks: {block['tool_use_id']}. Each `tool_result` block must "
                "have a corresponding `tool_use` block in the previous message."
            )


def _check_system(system: Any) -> None:
    if system is None or isinstance(system, str):
        return
    if not isinstance(system, list):
        raise invalid("system: Input should be a valid string or list")
    for position, block in enumerate(system):
        check_block(block, f"system.{position}")
        if block["type"] != "text":
            raise invalid(f"system.{position}.type: Input should be 'text'")


def _check_markers(body: dict[str, Any]) -> None:
    markers = list(_markers(body))
    for marker in markers:
        if not isinstance(marker, dict) or marker.get("type") != "ephemeral":
            raise invalid("cache_control.type: Input should be 'ephemeral'")
        if marker.get("ttl", "5m") not in ("5m", "1h"):
            raise invalid("cache_control.ephemeral.ttl: Input should be '5m' or '1h'")
    if len(markers) > MOST_MARKERS:
        raise invalid(
            f"A maximum of {MOST_MARKERS} blocks with cache_control may be provided. "
            f"Found {len(markers)}."
        )


def _markers(body: dict[str, Any]) -> Iterator[Any]:
    contents = [message["content"] for message in body["messages"]]
    for blocks in (body.get("tools"), body.get("system"), *contents):
        if isinstance(blocks, list):
            for block in blocks:
                if isinstance(block, dict) and block.get("cache_control") is not None:
                    yield block["cache_control"]
    if body.get("cache_control") is not None:
        yield body["cache_control"]
