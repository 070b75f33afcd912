"""A scope plays an Anthropic workspace: its keys see its batches, settings, clock and ledger."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec

from sandbox.caching import PromptCache
from sandbox.errors import ApiError, invalid
from sandbox.faults.base import Fault
from sandbox.faults.state import Faults
from sandbox.ledger import Ledger
from sandbox.store import Store

KEY = re.compile(r"sk-ant-(?P<scope>[a-z0-9]+)-[\x21-\x7e]+")
SETTINGS = "settings.json"

Clock = Callable[[], datetime]
MOST = 1e9
Positive = Annotated[float, msgspec.Meta(ge=0, le=MOST)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one scope behaves: seconds, tokens per second, a share from 0 to 1, seconds."""

    batch_seconds: Positive = 3.0
    token_rate: Positive = 80.0
    failure_rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    clock_offset: Annotated[float, msgspec.Meta(ge=-MOST, le=MOST)] = 0.0


class Scope:
    def __init__(
        self,
        name: str,
        directory: Path,
        defaults: Settings,
        clock: Clock,
        faults: Sequence[Fault] = (),
    ) -> None:
        self.name = name
        self.workspace_id = f"wrkspc_{name}"
        self.clock = clock
        self.store = Store(directory / "batches")
        self.ledger = Ledger(directory / "ledger.jsonl")
        self.prompt_cache = PromptCache(self.now)
        self.faults = Faults(faults)
        self._settings_file = directory / SETTINGS
        self.settings = defaults
        if self._settings_file.exists():
            self.settings = msgspec.json.decode(self._settings_file.read_bytes(), type=Settings)

    def now(self) -> datetime:
        return self.clock() + timedelta(seconds=self.settings.clock_offset)

    def change_settings(self, changes: dict[str, Any]) -> None:
        merged = {**msgspec.to_builtins(self.settings), **changes}
        try:
            self.settings = msgspec.convert(merged, Settings)
        except msgspec.ValidationError as error:
            raise invalid(str(error)) from error
        self._settings_file.write_bytes(msgspec.json.encode(self.settings))


class Scopes:
    """All scopes of one data directory, read from disk when a key first names them."""

    def __init__(
        self,
        directory: Path,
        defaults: Settings,
        clock: Clock | None = None,
        faults: Sequence[Fault] = (),
    ) -> None:
        self.directory = directory
        self.faults = faults
        self.defaults = defaults
        self.clock = clock or (lambda: datetime.now(UTC))
        self._scopes: dict[str, Scope] = {}

    def of_key(self, key: str) -> Scope:
        match = KEY.fullmatch(key)
        if match is None or match["scope"] == "revoked":
            raise ApiError(401, "authentication_error", "API key is invalid.")
        if match["scope"] == "forbidden":
            message = "Your API key does not have permission to use the specified resource."
            raise ApiError(403, "permission_error", message)
        return self._named(match["scope"])

    def _named(self, name: str) -> Scope:
        if name not in self._scopes:
            directory = self.directory / name
            scope = Scope(name, directory, self.defaults, self.clock, self.faults)
            self._scopes[name] = scope
        return self._scopes[name]
