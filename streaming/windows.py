"""What came in one window of time, as few events as say the same; and the transcript of it all."""

import hashlib
from typing import Any

import msgspec

from claude_api import Event
from streaming.snapshot import GROWING

# What a reader sees grow, character by character; a signature is not for reading.
READ = {kind: key for kind, key in GROWING.items() if kind != "signature_delta"}
_encoder = msgspec.json.Encoder()


class Window:
    """Events as they come; deltas that lengthen the same text are one when taken."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._pieces: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._events)

    def add(self, event: Event) -> None:
        if event.type == "ping":
            return
        if self._events and _grows_on(self._events[-1], event):
            self._pieces.append(_piece(event))
            return
        self._close()
        self._events.append(event)
        self._pieces = [_piece(event)] if _kind(event) in GROWING else []

    def take(self) -> list[Event]:
        self._close()
        events, self._events, self._pieces = self._events, [], []
        return events

    def _close(self) -> None:
        """Put the pieces of the last delta together."""
        if len(self._pieces) < 2:
            return
        last = self._events[-1]
        kind = _kind(last)
        delta = {**last.data["delta"], GROWING[kind]: "".join(self._pieces)}
        self._events[-1] = Event(last.type, {**last.data, "delta": delta}, b"")


def _kind(event: Event) -> str:
    delta = event.data.get("delta")
    if event.type != "content_block_delta" or not isinstance(delta, dict):
        return ""
    return str(delta.get("type", ""))


def _piece(event: Event) -> str:
    return str(event.data["delta"].get(GROWING.get(_kind(event), ""), "")) if _kind(event) else ""


def _grows_on(last: Event, event: Event) -> bool:
    kind = _kind(event)
    same = kind == _kind(last) and event.data.get("index") == last.data.get("index")
    return same and kind in GROWING


class Transcript:
    """All that a reader sees grow, in the order in which it came: how long, and its digest.

    The length is in UTF-16 units, which is what a browser counts.
    """

    def __init__(self) -> None:
        self.length = 0
        self._digest = hashlib.sha256()

    def add(self, event: Event) -> None:
        key = READ.get(_kind(event))
        if key is None:
            return
        text = event.data["delta"].get(key, "")
        self.length += len(text.encode("utf-16-le")) // 2
        self._digest.update(text.encode())

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()


def encode_frame(seq: int, at: int, milliseconds: int, events: list[Event]) -> str:
    """A frame as every viewer gets it: where its text begins in the transcript, how long after
    the asking it came, and its events under the API's own names."""
    data: dict[str, Any] = {
        "seq": seq,
        "at": at,
        "ms": milliseconds,
        "events": [event.data for event in events],
    }
    return _encoder.encode(data).decode()


def read_frame(payload: str) -> list[Event]:
    events = msgspec.json.decode(payload)["events"]
    return [Event(str(data.get("type", "")), data, b"") for data in events]
