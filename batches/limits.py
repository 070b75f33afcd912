"""What the models of a key allow, from the list that the workers keep on it. Pure."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from batches.problems import Problem
from batches.recipe import Rendered, ready

if TYPE_CHECKING:
    from batches.archive import Row


class Asked(msgspec.Struct):
    """What the limits concern of a ready request; that it is of the right kind, parsing saw to."""

    model: str = ""
    max_tokens: int | float = 0


class Limits:
    """Without a list nothing is known, and nothing is objected to: a model may always be typed."""

    def __init__(self, models: Sequence[Mapping[str, Any]] = ()) -> None:
        self._most = {model["id"]: model.get("max_tokens") for model in models}

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


class ReadyRenderer:
    """Renders the rows of an upload of ready requests: as they are, or what keeps them back."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def render(self, row: "Row") -> Rendered | list[Problem]:
        asked = msgspec.json.decode(row.params, type=Asked)
        what = self._limits.objection(asked.model, asked.max_tokens)
        if not what:
            return ready(row)
        most = self._limits.most_tokens(asked.model)
        return [Problem(what, row=row.number, fix=f"Write a whole number from 1 to {most:,}.")]
