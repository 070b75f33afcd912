"""What the models of a key offer, from the list that the workers keep on it. Pure.

Without a list nothing is known, and nothing is objected to: a model may always be typed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

THINKING = {
    "adaptive": "On, as much as it takes",
    "enabled": "On, with a budget",
    "disabled": "Off",
}
EFFORTS = ("low", "medium", "high", "xhigh", "max")
FAVOURITE = "haiku"  # where nobody has chosen yet: quick, and cheap


class Offers:
    def __init__(self, models: Sequence[Mapping[str, Any]] = ()) -> None:
        self._models = {str(model["id"]): model for model in models}

    def __bool__(self) -> bool:
        return bool(self._models)

    @property
    def choices(self) -> list[tuple[str, str]]:
        """(id, label) in the order of the API."""
        return [(id, model.get("display_name") or id) for id, model in self._models.items()]

    @property
    def first(self) -> str:
        return next((id for id in self._models if FAVOURITE in id), next(iter(self._models), ""))

    def id_of(self, model: str) -> str:
        """The id in the list, which an alias has without its day; empty where it is not there."""
        if model in self._models:
            return model
        return next((id for id in self._models if id.startswith(f"{model}-20")), "")

    def most_tokens(self, model: str) -> int | None:
        """The longest answer that the model gives; None where it is not known."""
        found: int | None = self._models.get(self.id_of(model), {}).get("max_tokens")
        return found

    def takes_thinking(self, model: str, kind: str) -> bool:
        said = self._capability(model, "thinking")
        return said is None or _supported(said.get("types", said), kind)

    def takes_effort(self, model: str, effort: str) -> bool:
        said = self._capability(model, "effort")
        return said is None or _supported(said, effort)

    def _capability(self, model: str, name: str) -> Mapping[str, Any] | None:
        said = (self._models.get(self.id_of(model), {}).get("capabilities") or {}).get(name)
        return said if isinstance(said, dict) else None


def _supported(said: Mapping[str, Any], name: str) -> bool:
    return bool((said.get(name) or {}).get("supported", False))
