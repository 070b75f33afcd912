"""A message as server-sent events."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from sandbox.tokens import estimate

# About a token each: a word with the space before it, or two characters where there are no words.
PIECE = re.compile(r"\s*(?:[\u3040-\u30ff\u3400-\u9fff]{1,2}|[^\s\u3040-\u30ff\u3400-\u9fff]+|\Z)")
JSON_PIECE = 8
PING_EVERY = 40


class Event(NamedTuple):
    """One event on the wire, and how many tokens it brings: what the pace goes by."""

    wire: bytes
    tokens: int


def events(message: dict[str, Any]) -> Iterator[Event]:
    """Every event of a finished message, in the order and the shapes of the API."""
    usage = message["usage"]
    start = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
    start |= {"stop_details": None, "usage": {**usage, "output_tokens": 1}}
    start["usage"].pop("output_tokens_details")
    yield _event("message_start", message=start)
    deltas = 0
    for index, block in enumerate(message["content"]):
        yield _event("content_block_start", index=index, content_block=_opened(block))
        if index == 0:
            yield _event("ping")
        for delta, tokens in _deltas(block, usage["output_tokens_details"]["thinking_tokens"]):
            yield _event("content_block_delta", tokens, index=index, delta=delta)
            deltas += 1
            if deltas % PING_EVERY == 0:
                yield _event("ping")
        yield _event("content_block_stop", index=index)
    delta = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    cumulative = {name: usage[name] for name in CUMULATIVE}
    yield _event("message_delta", delta=delta, usage=cumulative)
    yield _event("message_stop")


CUMULATIVE = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
)


def _event(name: str, tokens: int = 0, **data: Any) -> Event:
    body = msgspec.json.encode({"type": name, **data})
    return Event(b"event: %s\ndata: %s\n\n" % (name.encode(), body), tokens)


def _opened(block: dict[str, Any]) -> dict[str, Any]:
    empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}}
    return {**block, **empty.get(block["type"], {"input": {}})}


def _deltas(block: dict[str, Any], thought: int) -> Iterator[tuple[dict[str, Any], int]]:
    """The deltas of a block with their tokens; omitted thinking takes its time all the same."""
    if block["type"] == "text":
        for piece in _pieces(block["text"]):
            yield {"type": "text_delta", "text": piece}, estimate(piece)
    elif block["type"] == "thinking":
        for piece in _pieces(block["thinking"]):
            yield {"type": "thinking_delta", "thinking": piece}, estimate(piece)
        unseen = 0 if block["thinking"] else thought
        yield {"type": "signature_delta", "signature": block["signature"]}, unseen
    else:
        yield {"type": "input_json_delta", "partial_json": ""}, 0
        text = msgspec.json.encode(block["input"]).decode()
        for start in range(0, len(text), JSON_PIECE):
            piece = text[start : start + JSON_PIECE]
            yield {"type": "input_json_delta", "partial_json": piece}, estimate(piece)


def _pieces(text: str) -> Iterator[str]:
    for match in PIECE.finditer(text):
        if match.group():
            yield match.group()
