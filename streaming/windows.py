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
        # Of the last event, where it is a delta that may go on: what it lengthens, and by what.
        self._growing: tuple[Any, str] | None = None
        self._pieces: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._events)

    def add(self, event: Event) -> None:
        if event.type == "content_block_delta":
            delta = event.data.get("delta")
            if isinstance(delta, dict) and (kind := delta.get("type", "")) in GROWING:
                self._grow(event, kind, delta.get(GROWING[kind], ""))
                return
        elif event.type == "ping":
            return
        self._close()
        self._events.append(event)

    def take(self) -> list[Event]:
        self._close()
        events, self._events = self._events, []
        return events

    def _grow(self, event: Event, kind: str, piece: str) -> None:
        place = event.data.get("index"), kind
        if place != self._growing:
            self._close()
            self._events.append(event)
            self._growing = place
        self._pieces.append(piece)

    def _close(self) -> None:
        """Put the pieces of the last delta together."""
        if len(self._pieces) > 1 and self._growing is not None:
            last, key = self._events[-1], GROWING[self._growing[1]]
            delta = {**last.data["delta"], key: "".join(self._pieces)}
            self._events[-1] = Event(last.type, {**last.data, "delta": delta}, b"")
        self._growing, self._pieces = None, []


class Transcript:
    """All that a reader sees grow, in the order in which it came: how long, and its digest.

    The length is in UTF-16 units, which is what a browser counts.
    """

    def __init__(self) -> None:
        self.length = 0
        self._digest = hashlib.sha256()

    def add(self, event: Event) -> None:
        delta = event.data.get("delta") if event.type == "content_block_delta" else None
        key = READ.get(delta.get("type", "")) if isinstance(delta, dict) else None
        if delta is None or key is None:
            return
        text = delta.get(key, "")
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
