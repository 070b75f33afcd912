"""What the models of a key allow, from the list that the workers keep on it. Pure."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from batches.problems import Problem
from batches.recipe import Recipe, Rendered, raise_max_tokens, ready
from claude_api.types import Model

if TYPE_CHECKING:
    from batches.archive import Row

THINKING = ("adaptive", "enabled", "disabled")
EFFORTS = ("low", "medium", "high", "xhigh", "max")


class Asked(msgspec.Struct):
    """What the limits concern of a ready request; that it is of the right kind, parsing saw to."""

    model: str = ""
    max_tokens: int | float = 0


class Limits:
    """Without a list nothing is known, and nothing is objected to: a model may always be typed."""

    def __init__(self, models: Sequence[Mapping[str, Any]] = ()) -> None:
        self._listed = models
        self._most = {model["id"]: model.get("max_tokens") for model in models}

    @cached_property
    def models(self) -> dict[str, Model]:
        """All that the API says of them, in its order."""
        return {model["id"]: msgspec.convert(model, Model) for model in self._listed}

    def find(self, model: str) -> Model | None:
        full_id = self._full_id(model)
        return self.models[full_id] if full_id else None

    def knows(self, model: str) -> bool:
        return not self._most or self._full_id(model) is not None

    def most_tokens(self, model: str) -> int | None:
        """The longest answer that the model gives, in tokens; None where it is not known."""
        full_id = self._full_id(model)
        return self._most[full_id] if full_id else None

    def _full_id(self, model: str) -> str | None:
        """The id in the list; an alias has the same one without its day."""
        if model in self._most:
            return model
        return next((id for id in self._most if id.startswith(f"{model}-20")), None)

    def objection(self, model: str, max_tokens: float) -> str:
        most = self.most_tokens(model)
        if most is None or max_tokens <= most:
            return ""
        return f"max_tokens is {max_tokens:,}, and {model} answers with at most {most:,}."

    def thinking(self, model: str) -> tuple[str, ...]:
        """The types of `thinking` that the model takes; all where that is not known."""
        return self._supported(model, "thinking", THINKING)

    def efforts(self, model: str) -> tuple[str, ...]:
        return self._supported(model, "effort", EFFORTS)

    def _supported(self, model: str, capability: str, names: Sequence[str]) -> tuple[str, ...]:
        found = self.find(model)
        said = (found.capabilities or {}).get(capability) if found else None
        if not isinstance(said, dict):
            return tuple(names)
        kinds = said.get("types", said)
        return tuple(name for name in names if (kinds.get(name) or {}).get("supported", False))

    def check(self, recipe: Recipe) -> list[Problem]:
        """What the recipe asks of its model that the model does not do."""
        kind = (recipe.thinking or {}).get("type")
        config = recipe.extra.get("output_config")
        effort = config.get("effort") if isinstance(config, dict) else None
        problems = []
        if kind in THINKING and kind not in self.thinking(recipe.model):
            what = f"{recipe.model} does not take thinking `{kind}`."
            problems.append(Problem(what, field="thinking", fix="Choose another."))
        if effort in EFFORTS and effort not in self.efforts(recipe.model):
            what = f"{recipe.model} does not take effort `{effort}`."
            problems.append(Problem(what, field="effort", fix="Choose another."))
        return problems


class ReadyRenderer:
    """Renders the rows of an upload of ready requests: as they are, or what keeps them back.

    Where fewer are asked for, `raised` is what becomes of max_tokens.
    """

    def __init__(self, limits: Limits, raised: int = 0) -> None:
        self._limits = limits
        self._raised = raised

    def render(self, row: "Row") -> Rendered | list[Problem]:
        asked = msgspec.json.decode(row.params, type=Asked)
        raises = asked.max_tokens < self._raised
        wanted = self._raised if raises else asked.max_tokens
        what = self._limits.objection(asked.model, wanted)
        if not what:
            return raise_max_tokens(ready(row), self._raised) if raises else ready(row)
        most = self._limits.most_tokens(asked.model)
        return [Problem(what, row=row.number, fix=f"Write a whole number from 1 to {most:,}.")]
