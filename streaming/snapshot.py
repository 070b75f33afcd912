"""A message as far as it has been streamed: a fold over its events, without any I/O."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from claude_api import (
    Event,
    ToolCall,
    UnexpectedEvent,
    Usage,
    decode_clean,
    read_usage,
)

# The key of the block that each kind of delta lengthens; the delta carries it by the same name.
GROWING = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}


class Snapshot(msgspec.Struct, frozen=True):
    """What has been folded so far; nothing in it is ever changed in place.

    `message` has the shape of the API's own message. A tool's input grows as text under
    `partial_json` of its block, and stays there if it is not JSON when the block stops. Deltas
    of a kind unknown here are kept under `deltas` of their block, other events in `unknown`.
    Only `complete` says that the answer is whole; `error` is what an error event held.
    """

    message: dict[str, Any] = {}
    open_blocks: tuple[int, ...] = ()
    error: dict[str, Any] | None = None
    complete: bool = False
    unknown: tuple[dict[str, Any], ...] = ()

    @property
    def content(self) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = self.message.get("content", [])
        return content

    @property
    def text(self) -> str:
        return "".join(block.get("text", "") for block in self.content if _is(block, "text"))

    @property
    def thinking(self) -> str:
        return "".join(
            block.get("thinking", "") for block in self.content if _is(block, "thinking")
        )

    @property
    def tool_calls(self) -> list[ToolCall]:
        return [_read_call(block) for block in self.content if _is(block, "tool_use")]

    @property
    def stop_reason(self) -> str:
        return self.message.get("stop_reason") or ""

    @property
    def usage(self) -> Usage:
        return read_usage(self.message.get("usage"))


def accumulate(snapshot: Snapshot, event: Event) -> Snapshot:
    """Return the snapshot with one more event in it; the one given stays as it was.

    Start with `Snapshot()`. Events and their order are those of the API's streaming reference;
    one that does not fit raises UnexpectedEvent. A ping changes nothing.
    """
    if event.type == "ping":
        return snapshot
    if event.type == "error":
        return replace(snapshot, error=event.data.get("error") or {})
    step = STEPS.get(event.type)
    if step is None:
        return replace(snapshot, unknown=(*snapshot.unknown, event.data))
    if snapshot.complete or snapshot.error is not None:
        raise UnexpectedEvent(f"The stream goes on with {event.type} after its end.")
    if not snapshot.message and event.type != "message_start":
        raise UnexpectedEvent(f"The stream begins with {event.type}, not with message_start.")
    return step(snapshot, event)


def _start_message(snapshot: Snapshot, event: Event) -> Snapshot:
    if snapshot.message:
        raise UnexpectedEvent("The stream holds a second message_start.")
    message = _field(event, "message")
    return replace(snapshot, message={**message, "content": list(message.get("content") or [])})


def _start_block(snapshot: Snapshot, event: Event) -> Snapshot:
    index = event.data.get("index")
    if index != len(snapshot.content):
        raise UnexpectedEvent(
            f"The stream starts block {index}; block {len(snapshot.content)} is the next."
        )
    content = [*snapshot.content, _field(event, "content_block")]
    return replace(
        snapshot,
        message={**snapshot.message, "content": content},
        open_blocks=(*snapshot.open_blocks, index),
    )


def _grow_block(snapshot: Snapshot, event: Event) -> Snapshot:
    index, delta = _open_index(snapshot, event), _field(event, "delta")
    return _put_block(snapshot, index, _add_delta(snapshot.content[index], delta))


def _stop_block(snapshot: Snapshot, event: Event) -> Snapshot:
    index = _open_index(snapshot, event)
    still_open = tuple(number for number in snapshot.open_blocks if number != index)
    block = _finish_input(snapshot.content[index])
    return replace(_put_block(snapshot, index, block), open_blocks=still_open)


def _change_message(snapshot: Snapshot, event: Event) -> Snapshot:
    """Take over stop_reason and its kin; usage is cumulative, and null means "as before"."""
    counted = {name: n for name, n in (event.data.get("usage") or {}).items() if n is not None}
    usage = {**(snapshot.message.get("usage") or {}), **counted}
    message = {**snapshot.message, **_field(event, "delta"), "usage": usage}
    return replace(snapshot, message=message)


def _stop_message(snapshot: Snapshot, event: Event) -> Snapshot:
    if snapshot.open_blocks:
        raise UnexpectedEvent(f"The message stops while block {snapshot.open_blocks[0]} is open.")
    return replace(snapshot, complete=True)


STEPS: dict[str, Callable[[Snapshot, Event], Snapshot]] = {
    "message_start": _start_message,
    "content_block_start": _start_block,
    "content_block_delta": _grow_block,
    "content_block_stop": _stop_block,
    "message_delta": _change_message,
    "message_stop": _stop_message,
}


def _add_delta(block: dict[str, Any], delta: dict[str, Any]) -> dict[str, Any]:
    kind = delta.get("type", "")
    if kind in GROWING:
        key = GROWING[kind]
        return {**block, key: block.get(key, "") + delta.get(key, "")}
    if kind == "citations_delta":
        return {**block, "citations": [*(block.get("citations") or []), delta.get("citation")]}
    return {**block, "deltas": [*block.get("deltas", []), delta]}


def _finish_input(block: dict[str, Any]) -> dict[str, Any]:
    """Parse what grew as partial_json; cut off by max_tokens it is no JSON and stays as it is."""
    text = block.get("partial_json")
    finished = {name: value for name, value in block.items() if name != "partial_json"}
    if not text:
        return finished
    try:
        return finished | {"input": decode_clean(text.encode())}
    except ValueError:
        return block


def _put_block(snapshot: Snapshot, index: int, block: dict[str, Any]) -> Snapshot:
    content = [*snapshot.content]
    content[index] = block
    return replace(snapshot, message={**snapshot.message, "content": content})


def _open_index(snapshot: Snapshot, event: Event) -> int:
    index: int = event.data.get("index", -1)
    if index not in snapshot.open_blocks:
        raise UnexpectedEvent(
            f"The stream holds {event.type} for block {index}, which is not open."
        )
    return index


def _field(event: Event, name: str) -> dict[str, Any]:
    value = event.data.get(name)
    if not isinstance(value, dict):
        raise UnexpectedEvent(f"The stream holds {event.type} without {name}.")
    return value


def _read_call(block: dict[str, Any]) -> ToolCall:
    growing = block.get("partial_json")
    return ToolCall(
        block.get("name", ""),
        growing if growing else msgspec.json.encode(block.get("input", {})).decode(),
    )


def _is(block: dict[str, Any], kind: str) -> bool:
    return block.get("type") == kind
