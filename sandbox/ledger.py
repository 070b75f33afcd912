"""What really reached the sandbox: the witness of tests about money and loss."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

KINDS = {
    "create": "creates",
    "refused": "refused",
    "cancel": "cancels",
    "delete": "deletes",
    "fault": "faults",
}


class Summary(msgspec.Struct, omit_defaults=True):
    """One line of the ledger.

    Only a refusal has a status. Only a fault has a name, what it happened to, the foreign batches
    it made, and, where the operation changes something, whether it did.
    """

    kind: str
    at: datetime
    request_id: str
    id: str | None = None
    size: int | None = None
    status: int | None = None
    fault: str | None = None
    on: str | None = None
    path: str | None = None
    took_effect: bool | None = None
    foreign: list[str] | None = None


class Entry(Summary, omit_defaults=True):
    """The same line with the custom_ids of a create, which may be a hundred thousand."""

    custom_ids: list[str] | None = None


class Ledger:
    """Appended to before the reply is sent, one write for each entry; read whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, entry: Entry) -> None:
        with self.path.open("ab", buffering=0) as file:
            file.write(msgspec.json.encode(entry) + b"\n")

    def read(self, custom_ids: bool = True) -> dict[str, list[dict[str, Any]]]:
        """Entries by kind, oldest first."""
        grouped: dict[str, list[dict[str, Any]]] = {name: [] for name in KINDS.values()}
        for entry in self._entries(Entry if custom_ids else Summary):
            fields: dict[str, Any] = msgspec.to_builtins(entry)
            grouped[KINDS[fields.pop("kind")]].append(fields)
        return grouped

    def _entries(self, shape: type[Entry] | type[Summary]) -> Iterator[Entry | Summary]:
        if not self.path.exists():
            return
        decoder = msgspec.json.Decoder(shape)
        with self.path.open("rb") as file:
            for line in file:
                # A killed process leaves at most one line without its end.
                if line.endswith(b"\n"):
                    yield decoder.decode(line)
