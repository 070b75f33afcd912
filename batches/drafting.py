"""What the recipe form holds: text as it was typed, and the recipe that it makes. Pure."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from batches.limits import Limits
from batches.parsing.json_faults import Fault, explain_typed
from batches.parsing.json_lines import NESTING_LIMIT, TOO_DEEP, measure
from batches.problems import Problem
from batches.recipe import MOST_TOKENS, Recipe, Template, check
from claude_api.tolerant import REFUSALS, clean

FIELDS = (
    "model",
    "system",
    "prompt",
    "max_tokens",
    "thinking",
    "budget",
    "display",
    "effort",
    "id_column",
    "output_format",
    "tools",
    "tool_choice",
    "cache_system",
    "extra",
)
# What a person calls them; the order is that of the page.
LABELS = {
    "model": "Model",
    "system": "System prompt",
    "prompt": "Prompt",
    "max_tokens": "Max tokens",
    "thinking": "Thinking",
    "effort": "Effort",
    "id_column": "Identify rows by",
    "output_format": "Output format",
    "tools": "Tools",
    "tool_choice": "Tool choice",
    "cache_system": "Cache the system prompt",
    "extra": "Extra parameters",
}
OTHER = "other"  # in the list of models: the one that is typed beside it
BLANK = {"max_tokens": "1024"}
EXAMPLES = {
    "output_format": '{"type": "object", "properties": {}, "additionalProperties": false}',
    "tools": '[{"name": "look_up", "input_schema": {"type": "object"}}]',
    "tool_choice": '{"type": "auto"}',
    "extra": '{"stop_sequences": ["."]}',
}


class RecipeForm:
    """The fields of the form as they were typed; reading them never fails, it finds problems."""

    def __init__(
        self, typed: Mapping[str, Any], columns: Sequence[str], limits: Limits | None = None
    ) -> None:
        self.typed = {name: _plain(typed.get(name, "")) for name in FIELDS}
        self.columns, self.limits = list(columns), limits or Limits()
        self._faults: list[Problem] = []

    @classmethod
    def of(
        cls, recipe: Mapping[str, Any], columns: Sequence[str], limits: Limits | None = None
    ) -> "RecipeForm":
        """The form that makes this recipe; {} is the form nobody has touched."""
        typed = _typed(msgspec.convert(recipe, Recipe)) if recipe else BLANK
        return cls(typed, columns, limits)

    @classmethod
    def posted(
        cls, data: Mapping[str, Any], columns: Sequence[str], limits: Limits | None = None
    ) -> "RecipeForm":
        """What a browser sent: a model comes from the list, or is typed beside it."""
        model = data.get("model", "")
        if model in ("", OTHER):
            model = data.get("other_model", "")
        typed = {**{name: data.get(name, "") for name in FIELDS}, "model": model}
        return cls(typed, columns, limits)

    @cached_property
    def recipe(self) -> Recipe:
        """What was typed as far as it can be read; a field that cannot is left away."""
        thinking = self._thinking()
        return Recipe(
            model=self.typed["model"].strip(),
            prompt=self.typed["prompt"],
            system=self.typed["system"],
            max_tokens=self._whole("max_tokens", "max_tokens") or 1,
            id_column=self.typed["id_column"],
            thinking=thinking,
            tools=self._json("tools", list) or [],
            tool_choice=self._json("tool_choice", dict),
            output_format=self._json("output_format", dict),
            cache_system=bool(self.typed["cache_system"]),
            extra=self._extra(),
        )

    @cached_property
    def problems(self) -> list[Problem]:
        """All that is wrong, in the order of the page."""
        most = self.limits.most_tokens(self.recipe.model)
        unread = {fault.field for fault in self._faults}
        found = [*check(self.recipe, self.columns, most_tokens=most)]
        found += self.limits.check(self.recipe)
        problems = [*self._faults, *(one for one in found if one.field not in unread)]
        return sorted(problems, key=lambda problem: list(LABELS).index(problem.field))

    @property
    def sound(self) -> Recipe | None:
        """The recipe, where nothing is wrong with it."""
        return None if self.problems else self.recipe

    @property
    def begun(self) -> list[Problem]:
        """Problems of what was typed, without those of what has not been typed yet."""
        return [problem for problem in self.problems if not self._is_missing(problem.field)]

    @property
    def says_nothing_of_a_row(self) -> bool:
        """No prompt yet, or none with a column in it."""
        prompt = Template(self.recipe.prompt)
        return not (prompt.columns or prompt.unclosed)

    def _is_missing(self, field: str) -> bool:
        if field == "prompt":
            return self.says_nothing_of_a_row
        return field == "model" and not self.recipe.model

    def _thinking(self) -> dict[str, Any] | None:
        kind = self.typed["thinking"]
        if not kind:
            return None
        thinking: dict[str, Any] = {"type": kind}
        if kind == "enabled":
            thinking["budget_tokens"] = self._whole("budget", "thinking") or 0
        if kind != "disabled" and self.typed["display"]:
            thinking["display"] = self.typed["display"]
        return thinking

    def _extra(self) -> dict[str, Any]:
        extra = self._json("extra", dict) or {}
        effort, config = self.typed["effort"], extra.get("output_config", {})
        if not effort or not isinstance(config, dict):
            return extra
        if config.get("effort", effort) != effort:
            self._add("effort", "Effort is given twice.", "Delete it from the extra parameters.")
        return {**extra, "output_config": {**config, "effort": effort}}

    def _whole(self, name: str, field: str) -> int | None:
        text = self.typed[name].strip().replace(",", "")
        short = len(text) <= len(str(MOST_TOKENS))
        if text.isascii() and text.isdigit() and short and int(text) <= MOST_TOKENS:
            return int(text)
        what = f"`{self.typed[name][:40]}` is not a whole number." if text else "No number."
        least = "1,024 and below max_tokens" if name == "budget" else "1"
        self._add(field, what, f"Write a whole number from {least}.")
        return None

    def _json(self, name: str, kind: type) -> Any:
        """The value of a field that holds JSON; None where it is blank or wrong."""
        text = self.typed[name]
        if not text.strip():
            return None
        fault = explain_typed(text)
        try:
            value = None if fault else msgspec.json.decode(text)
        except REFUSALS as error:
            fault = Fault(f"not the JSON that the API takes: {error}.")
        if fault is None and measure(value)[1] > NESTING_LIMIT:
            fault = TOO_DEEP
        if fault is None and not _is_a(value, kind):
            wanted = "a list of objects" if kind is list else "an object"
            fault = Fault(f"this is not {wanted}.", f"Write it as in `{EXAMPLES[name]}`.")
        if fault is None:
            return value
        self._add(name, fault.what[:1].upper() + fault.what[1:], fault.fix)
        return None

    def _add(self, field: str, what: str, fix: str = "") -> None:
        self._faults.append(Problem(what, field=field, fix=fix))


def _plain(text: Any) -> str:
    """As it was typed: a browser sends CR LF where the person pressed Enter."""
    return clean(str(text)).replace("\r\n", "\n")


def _is_a(value: Any, kind: type) -> bool:
    if kind is list:
        return isinstance(value, list) and all(isinstance(one, dict) for one in value)
    return isinstance(value, kind)


def _typed(recipe: Recipe) -> dict[str, str]:
    thinking, extra = recipe.thinking or {}, dict(recipe.extra)
    config, effort = extra.get("output_config"), ""
    if isinstance(config, dict) and isinstance(config.get("effort"), str):
        effort = config["effort"]
        extra["output_config"] = {name: config[name] for name in config if name != "effort"}
        if not extra["output_config"]:
            del extra["output_config"]
    return {
        "model": recipe.model,
        "system": recipe.system,
        "prompt": recipe.prompt,
        "max_tokens": str(recipe.max_tokens),
        "thinking": str(thinking.get("type", "")),
        "budget": str(thinking.get("budget_tokens", "")),
        "display": str(thinking.get("display", "")),
        "effort": effort,
        "id_column": recipe.id_column,
        "output_format": _shown(recipe.output_format),
        "tools": _shown(recipe.tools),
        "tool_choice": msgspec.json.encode(recipe.tool_choice).decode()
        if recipe.tool_choice
        else "",
        "cache_system": "on" if recipe.cache_system else "",
        "extra": _shown(extra),
    }


def _shown(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() if value else ""
