"""What a request costs in tokens, and what of it a prompt cache holds."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from sandbox.models import Model
from sandbox.tokens import estimate

PER_MESSAGE = 4
PER_REQUEST = 3
PER_IMAGE = 1_600
PER_DOCUMENT = 3_000
LOOK_BACK = 20
FIVE_MINUTES, ONE_HOUR = "5m", "1h"

Remembers = Callable[[bytes], bool]


@dataclass
class Boundary:
    """A place where a cached prefix may end: the key of all before it, its tokens, its ttl."""

    key: bytes
    tokens: int
    ttl: str | None


@dataclass
class Caching:
    """Tokens by what the cache does with them, and the keys that are written, with their ttl."""

    read: int
    five_minutes: int
    one_hour: int
    written: dict[bytes, str]


def count_input(body: dict[str, Any]) -> int:
    return PER_REQUEST + sum(_tokens(block) for block, _ in _blocks(body))


def is_marked(body: dict[str, Any]) -> bool:
    return any(ttl for _, ttl in _blocks(body))


def usage(
    input_tokens: int, caching: Caching | None, output_tokens: int, thinking_tokens: int, tier: str
) -> dict[str, Any]:
    """The Usage object; `input_tokens` is all of the input, cached or not."""
    caching = caching or Caching(0, 0, 0, {})
    created = caching.five_minutes + caching.one_hour
    return {
        "input_tokens": input_tokens - caching.read - created,
        "cache_creation_input_tokens": created,
        "cache_read_input_tokens": caching.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": caching.five_minutes,
            "ephemeral_1h_input_tokens": caching.one_hour,
        },
        "output_tokens": output_tokens,
        "output_tokens_details": {"thinking_tokens": thinking_tokens},
        "server_tool_use": None,
        "service_tier": tier,
        "inference_geo": "not_available" if tier == "batch" else "global",
    }


def cache(body: dict[str, Any], model: Model, remembers: Remembers) -> Caching:
    """What the cache reads and creates for a request.

    A marker reads the longest remembered prefix that ends at it or up to 20 blocks before; from
    there to the last marker is created. Prefixes below the model's least length are ignored.
    """
    boundaries = list(_boundaries(body))
    marked = [
        index
        for index, boundary in enumerate(boundaries)
        if boundary.ttl and boundary.tokens >= model.cacheable
    ]
    read = max((_longest_read(boundaries, index, remembers) for index in marked), default=0)
    caching = Caching(read, 0, 0, {})
    reached = read
    for index in marked:
        boundary = boundaries[index]
        created = max(0, boundary.tokens - reached)
        reached = max(reached, boundary.tokens)
        if boundary.ttl == ONE_HOUR:
            caching.one_hour += created
        else:
            caching.five_minutes += created
        caching.written[boundary.key] = boundary.ttl or FIVE_MINUTES
    return caching


def _longest_read(boundaries: list[Boundary], index: int, remembers: Remembers) -> int:
    for boundary in reversed(boundaries[max(0, index - LOOK_BACK) : index + 1]):
        if remembers(boundary.key):
            return boundary.tokens
    return 0


def _boundaries(body: dict[str, Any]) -> Iterator[Boundary]:
    state = hashlib.blake2b(str(body["model"]).encode(), digest_size=16)
    tokens = PER_REQUEST
    for block, ttl in _blocks(body):
        tokens += _tokens(block)
        state.update(msgspec.json.encode(_unmarked(block)))
        yield Boundary(state.copy().digest(), tokens, ttl)


def _unmarked(block: Any) -> Any:
    if isinstance(block, dict):
        return {name: value for name, value in block.items() if name != "cache_control"}
    return block


def _blocks(body: dict[str, Any]) -> Iterator[tuple[Any, str | None]]:
    """Tools, system, messages, in the order the cache sees them, each with the ttl of its mark."""
    blocks = [*body.get("tools", []), *_listed(body.get("system"))]
    for message in body["messages"]:
        blocks.append({"role": message["role"]})
        blocks += _listed(message["content"])
    automatic = _ttl(body)
    for position, block in enumerate(blocks):
        ttl = _ttl(block)
        if automatic and position == len(blocks) - 1:
            ttl = ttl or automatic
        yield block, ttl


def _listed(content: Any) -> list[Any]:
    if content is None:
        return []
    return content if isinstance(content, list) else [content]


def _ttl(block: Any) -> str | None:
    marker = block.get("cache_control") if isinstance(block, dict) else None
    return marker.get("ttl", FIVE_MINUTES) if marker else None


def _tokens(block: Any) -> int:
    if isinstance(block, str):
        return estimate(block)
    if block.keys() == {"role"}:
        return PER_MESSAGE
    kind = block.get("type")
    if kind == "text" and "text" in block:
        return estimate(block["text"])
    if kind == "image":
        return PER_IMAGE
    if kind == "document":
        return PER_DOCUMENT
    return estimate(msgspec.json.encode(_unmarked(block)).decode())
