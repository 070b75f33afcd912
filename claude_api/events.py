"""Reading one event of a message stream."""

from typing import Any

from claude_api.errors import OutcomeUnknown
from claude_api.lines import ServerSentEvent
from claude_api.tolerant import decode_clean
from claude_api.types import Event

# Events the answer is made of: one that cannot be read leaves a hole in it.
ESSENTIAL = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "message",
    }
)


def read_event(sent: ServerSentEvent) -> Event:
    """Read an event; its type is that of its data, or else its name on the wire.

    An event of an unknown type keeps its raw data, whatever that is; one the answer needs
    and that is not JSON raises OutcomeUnknown.
    """
    data = _decode(sent.data)
    if isinstance(data, dict):
        kind = data.get("type")
        return Event(kind if isinstance(kind, str) else sent.event, data, sent.data)
    if sent.event in ESSENTIAL:
        raise OutcomeUnknown(
            f"An event of the stream ({sent.event}) cannot be read.", answered=True
        )
    return Event(sent.event, {}, sent.data)


def _decode(data: bytes) -> Any:
    try:
        return decode_clean(data)
    except ValueError:
        return None
