"""The models the sandbox knows, and what each accepts."""

from dataclasses import dataclass
from typing import Any

THINKING = ("adaptive", "between_tools", "disabled", "enabled")


@dataclass(frozen=True)
class Model:
    """One model, and what it accepts. `generation` is 4.5, 5.1 and so on."""

    id: str
    released: str
    generation: float
    line: str | None = None
    alias: str | None = None
    deprecated: str | None = None
    retires: str | None = None
    retired: bool = False
    thinking: tuple[str, ...] = THINKING
    prefill: bool = True
    forced_tools: bool = True
    cacheable: int = 1024

    @property
    def max_tokens(self) -> int:
        return 128_000 if self.generation >= 4.6 else 64_000

    @property
    def max_input_tokens(self) -> int:
        return 1_000_000 if self.generation >= 4.6 else 200_000

    @property
    def shows_thinking(self) -> bool:
        """Whether thinking is readable where the request does not say `display`."""
        return self.generation < 4.7

    @property
    def thinks_unasked(self) -> bool:
        """Whether it thinks where the request says nothing of `thinking`."""
        return self.generation >= 5

    @property
    def thinking_efforts(self) -> tuple[str, ...]:
        """The efforts at which thinking cannot be disabled."""
        return ("xhigh", "max") if self.id == "claude-opus-5" else ()

    @property
    def lifecycle(self) -> str:
        if self.retired:
            return "retired"
        return "deprecated" if self.deprecated else "active"


def _model(
    line: str, version: str, released: str, cacheable: int = 1024, dated: str = "", **more: Any
) -> Model:
    generation = float(version.replace("-", "."))
    name = f"claude-{line}-{version}"
    return Model(
        id=name + dated,
        alias=name if dated else None,
        released=released,
        generation=generation,
        line=line,
        thinking=_thinking(line, generation),
        prefill=generation < 4.6,
        forced_tools=not _refuses_forced_tools(line, generation),
        cacheable=cacheable,
        **more,
    )


def _thinking(line: str, generation: float) -> tuple[str, ...]:
    if generation <= 4.5:
        return ("disabled", "enabled")
    if generation < 4.7:
        return ("adaptive", "disabled", "enabled")
    always = line in ("fable", "mythos") or (line == "opus" and generation >= 5.5)
    return ("adaptive",) if always else ("adaptive", "disabled")


def _refuses_forced_tools(line: str, generation: float) -> bool:
    return (line in ("opus", "sonnet") and generation >= 5.5) or (
        line == "fable" and generation >= 5.1
    )


# Release days that are not published are near the first SDK that knew the model. Where a model
# has no published least cacheable prefix, 1,024 tokens stand.
MODELS = [
    _model("fable", "5-2", "2026-11-09"),
    _model("mythos", "5-2", "2026-11-09"),
    _model("haiku", "5-5", "2026-10-07"),
    _model("sonnet", "5-5", "2026-09-28"),
    _model("opus", "5-5", "2026-09-22"),
    _model("fable", "5-1", "2026-09-01"),
    _model("mythos", "5-1", "2026-09-01"),
    _model("opus", "5", "2026-07-24", 512),
    _model("sonnet", "5", "2026-06-30"),
    _model("fable", "5", "2026-06-09", 512),
    _model("mythos", "5", "2026-06-09", 512),
    _model("opus", "4-8", "2026-05-28"),
    _model("opus", "4-7", "2026-04-16", 2048),
    _model("sonnet", "4-6", "2026-02-17"),
    _model("opus", "4-6", "2026-02-05", 4096),
    _model("opus", "4-5", "2025-11-24", 4096, dated="-20251101"),
    _model("haiku", "4-5", "2025-10-15", 4096, dated="-20251001"),
    _model(
        "sonnet",
        "4-5",
        "2025-09-29",
        dated="-20250929",
        deprecated="2026-09-28",
        retires="2026-11-30",
    ),
    _model("opus", "4-1", "2025-08-05", dated="-20250805", retires="2026-08-05", retired=True),
]
BY_ID = {name: model for model in MODELS for name in (model.id, model.alias) if name}


def find_model(name: str) -> Model | None:
    """Any `claude-…` is a model here; one that the table lacks accepts what any model does."""
    if name in BY_ID:
        return BY_ID[name]
    return Model(name, "2026-01-01", generation=4.6) if name.startswith("claude-") else None
