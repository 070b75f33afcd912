"""What a recipe is; and rendering: row + recipe -> one request, or its problems."""

import difflib
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from batches.problems import Problem

if TYPE_CHECKING:
    from batches.archive import Row

REQUEST_LIMIT = 32_000_000  # bytes; what the Messages API takes as one request
API_VERSION = "2026-10-21"

# Gone from the API with version 2026-10-21, even at their default values.
SAMPLING = ("temperature", "top_p", "top_k")
# Refused row by row in a Message Batch (platform docs, "Batch processing").
NOT_IN_A_BATCH = (
    "stream",
    "speed",
    "store",
    "previous_thread_event_id",
    "cache_hint",
    "context_hint",
    "research_preview_2026_02",
    "fallbacks",
)
# No model answers with so many tokens, and every part of the program can count so far.
MOST_TOKENS = 10**9
OWN_FIELDS = ("model", "messages", "max_tokens", "system", "thinking", "tools", "tool_choice")
EXTRA = (
    "stop_sequences",
    "output_config",
    "metadata",
    "service_tier",
    "cache_control",
    "inference_geo",
    "container",
    "diagnostics",
)


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How one row becomes one request. `prompt` and `system` may hold {{column}}."""

    model: str
    prompt: str
    system: str = ""
    max_tokens: int = 1024
    id_column: str = ""
    thinking: dict[str, Any] | None = None
    tools: list[dict[str, Any]] = []
    tool_choice: dict[str, Any] | None = None
    output_format: dict[str, Any] | None = None
    cache_system: bool = False
    extra: dict[str, Any] = {}


class Rendered(msgspec.Struct, frozen=True):
    """One request without its custom_id: `params` is JSON as it goes over the wire."""

    own_id: str
    params: bytes


def digest(recipe: Mapping[str, Any]) -> str:
    """Equal for two recipes that render the same requests; {} stands for ready requests."""
    canonical = msgspec.convert(recipe, Recipe) if recipe else None
    return hashlib.sha256(msgspec.json.encode(canonical, order="sorted")).hexdigest()


class Template:
    """Text with {{column}} in it, read once; `\\{{` stands for the two braces themselves.

    What is put in is never read again, so a cell that looks like {{x}} stays as it is.
    """

    # A run of three opening braces is one brace of text and a placeholder.
    _token = re.compile(r"\\\{\{|\{\{([^{}]*)\}\}|\{\{(?!\{)")

    def __init__(self, text: str) -> None:
        self.unclosed: list[int] = []  # lines with a {{ that has no }}
        self._names: list[str] = []
        self._pieces: list[str] = []  # text, column, text, column, ..., text
        plain: list[str] = []
        end, line = 0, 1
        for token in self._token.finditer(text):
            plain.append(text[end : token.start()])
            line += text.count("\n", end, token.start())
            end = token.end()
            if token[1] is None:
                plain.append("{{")
                self.unclosed += [line] if token[0] == "{{" else []
                continue
            self._pieces += ["".join(plain), token[1]]
            self._names.append(token[1].strip())
            plain.clear()
            line += token[1].count("\n")
        self._pieces.append("".join(plain) + text[end:])
        self.columns = list(dict.fromkeys(self._names))

    def pieces(self) -> Iterator[tuple[str, str]]:
        """Text and the column that follows it, "" after the last."""
        yield from zip(self._pieces[::2], [*self._names, ""], strict=True)

    def render(self, values: Mapping[str, str]) -> str:
        """The text with the value of each column in its place."""
        pieces = self._pieces.copy()
        pieces[1::2] = [values[name] for name in self._names]
        return "".join(pieces)


class Renderer:
    """Renders the rows of one upload. It remembers their ids, so use a new one for every pass."""

    def __init__(self, recipe: Recipe, columns: Sequence[str]) -> None:
        """A recipe that `check` found sound; `columns` as the upload has them."""
        self.recipe = recipe
        self._prompt = Template(recipe.prompt)
        self._system = Template(recipe.system)
        names = dict.fromkeys(self._prompt.columns + self._system.columns)
        self._places = [(name, columns.index(name)) for name in names]
        self._id_place = columns.index(recipe.id_column) if recipe.id_column else None
        self._rows_by_id: dict[str, int] = {}
        self._fixed = _fixed_params(recipe)

    def render(self, row: "Row") -> Rendered | list[Problem]:
        """One request, or everything that keeps this row from being one."""
        if row.reason:
            return [Problem(row.reason)]  # it names its row itself
        own_id = self.identify(row)
        values = {name: row.cells[place] for name, place in self._places}
        problems = [own_id] if isinstance(own_id, Problem) else []
        problems += self._text_problems(row.number, values)
        if problems or isinstance(own_id, Problem):
            return problems
        params = msgspec.json.encode(self._params(values))
        if len(params) > REQUEST_LIMIT:
            return [_too_large(row.number, len(params))]
        return Rendered(own_id, params)

    def identify(self, row: "Row") -> str | Problem:
        """The row's own id. Rows that are not rendered may be shown here too, so that an id
        which one of them holds is not given a second time."""
        if self._id_place is None:
            return str(row.number)
        own_id = row.cells[self._id_place].strip()
        if not own_id:
            return self._id_problem(row, "the id is empty.", "Give every row its own id.")
        first = self._rows_by_id.setdefault(own_id, row.number)
        if first != row.number:
            what = f"id `{_short(own_id)}` is in rows {first:,} and {row.number:,}."
            return self._id_problem(row, what, "Give one of them another id.")
        return own_id

    def _id_problem(self, row: "Row", what: str, fix: str) -> Problem:
        fix += " Or identify the rows by their number."
        return Problem(what, row=row.number, column=self.recipe.id_column, fix=fix)

    def _text_problems(self, number: int, values: Mapping[str, str]) -> Iterator[Problem]:
        for column, text in values.items():
            if what := unsendable(text):
                yield Problem(what, row=number, column=column, fix="Delete that character.")
        if not any(values[column].strip() for column in self._prompt.columns):
            yield Problem(
                "every column that the prompt uses is empty.",
                row=number,
                fix="Fill one of them or leave this row out.",
            )

    def _params(self, values: Mapping[str, str]) -> dict[str, Any]:
        params = self._fixed.copy()
        system = self._system.render(values)
        if system.strip():
            params["system"] = _cached(system) if self.recipe.cache_system else system
        params["messages"] = [{"role": "user", "content": self._prompt.render(values)}]
        return params


def ready(row: "Row") -> Rendered:
    """A ready request as it was uploaded, byte for byte."""
    return Rendered(row.own_id or str(row.number), bytes(row.params))


def raise_max_tokens(request: Rendered, most: int) -> Rendered:
    """The same request with another max_tokens; all else byte for byte, in its order."""
    params = msgspec.json.decode(request.params, type=dict[str, msgspec.Raw])
    params["max_tokens"] = msgspec.Raw(b"%d" % most)
    return Rendered(request.own_id, msgspec.json.encode(params))


def _fixed_params(recipe: Recipe) -> dict[str, Any]:
    """What all rows have in common."""
    params: dict[str, Any] = {"model": recipe.model, "max_tokens": recipe.max_tokens}
    given = {
        "thinking": recipe.thinking,
        "tools": recipe.tools,
        "tool_choice": recipe.tool_choice,
    }
    params.update((name, value) for name, value in given.items() if value)
    params.update(recipe.extra)
    if recipe.output_format is not None:
        json_schema = {"type": "json_schema", "schema": recipe.output_format}
        params["output_config"] = {**params.get("output_config", {}), "format": json_schema}
    return params


def _cached(system: str) -> list[dict[str, Any]]:
    # An hour, because a batch often outlives the default of five minutes.
    return [
        {
            "type": "text",
            "text": system,
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
        }
    ]


def _too_large(number: int, size: int) -> Problem:
    return Problem(
        f"the request is {size / 1e6:,.1f} MB, the limit is {REQUEST_LIMIT // 10**6} MB.",
        row=number,
        fix="Shorten its cells.",
    )


def unsendable(text: str) -> str:
    """Why the API cannot be sent this text; empty when it can."""
    if (place := text.find("\0")) >= 0:
        return f"NUL character at position {place + 1:,}."
    if not text.isascii() and (half := _SURROGATE.search(text)):
        return f"half of a surrogate pair at position {half.start() + 1:,}: not sendable as text."
    return ""


_SURROGATE = re.compile("[\ud800-\udfff]")


def check(
    recipe: Recipe,
    columns: Sequence[str],
    *,
    api_version: str = API_VERSION,
    most_tokens: int | None = None,
) -> list[Problem]:
    """All that is wrong with the recipe itself; `Problem.field` names the field of Recipe.

    `most_tokens` is the longest answer that the model gives, None where that is not known.
    """
    return [
        *_check_model(recipe),
        *_check_texts(recipe, columns),
        *_check_id_column(recipe, columns),
        *_check_max_tokens(recipe, most_tokens),
        *_check_tools(recipe),
        *_check_output(recipe),
        *_check_extra(recipe, api_version),
    ]


def _check_model(recipe: Recipe) -> Iterator[Problem]:
    if not recipe.model:
        yield Problem("No model.", field="model", fix="Name one, such as `claude-haiku-4-5`.")
    elif re.search(r"\s", recipe.model) or unsendable(recipe.model):
        yield Problem(
            f"`{_short(recipe.model)}` is not a model's id: it has a space in it.",
            field="model",
            fix="Write the id, such as `claude-haiku-4-5`.",
        )


def _check_texts(recipe: Recipe, columns: Sequence[str]) -> Iterator[Problem]:
    prompt = Template(recipe.prompt)
    yield from _check_template("prompt", recipe.prompt, prompt, columns)
    yield from _check_template("system", recipe.system, Template(recipe.system), columns)
    if not recipe.prompt.strip():
        fix = f"Write what to do with a row, with a column in it. {_list(columns)}"
        yield Problem("The prompt is empty.", field="prompt", fix=fix)
    elif not prompt.columns and not prompt.unclosed:
        what = "The prompt names no column: every row would get the same request."
        fix = f"Put one in as `{{{{column}}}}`. {_list(columns)}"
        yield Problem(what, field="prompt", fix=fix)


def _check_template(
    field: str, text: str, template: Template, columns: Sequence[str]
) -> Iterator[Problem]:
    if what := unsendable(text):
        yield Problem(f"The {field} has a {what}", field=field, fix="Delete that character.")
    for line in template.unclosed:
        yield Problem(
            f"The {field}, line {line:,}: `{{{{` is not closed.",
            field=field,
            fix="Write `{{column}}`, or `\\{{` where the braces themselves are meant.",
        )
    for name in template.columns:
        if name not in columns:
            what = f"`{{{{{_short(name)}}}}}`: no such column."
            yield _unknown(what, field, name, columns)


def _check_id_column(recipe: Recipe, columns: Sequence[str]) -> Iterator[Problem]:
    name = recipe.id_column
    if name and name not in columns:
        what = f"`{_short(name)}`: no such column to identify the rows by."
        yield _unknown(what, "id_column", name, columns)


def _check_max_tokens(recipe: Recipe, most: int | None) -> Iterator[Problem]:
    if not 1 <= recipe.max_tokens <= min(most or MOST_TOKENS, MOST_TOKENS):
        what = f"max_tokens is {recipe.max_tokens:,}."
        limit = f" to {most:,}, which is what {recipe.model} answers with at most" if most else ""
        if recipe.max_tokens > MOST_TOKENS and not most:
            limit = f" to {MOST_TOKENS:,}"
        yield Problem(what, field="max_tokens", fix=f"Write a whole number from 1{limit}.")
    thinking = recipe.thinking or {}
    if thinking.get("type") != "enabled":
        return
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int) or not 1024 <= budget < recipe.max_tokens:
        shown = f"{budget:,}" if isinstance(budget, int) else budget
        yield Problem(
            f"thinking.budget_tokens is {shown}, max_tokens is {recipe.max_tokens:,}.",
            field="thinking",
            fix="Write a budget from 1,024 and below max_tokens.",
        )


def _check_tools(recipe: Recipe) -> Iterator[Problem]:
    names = [tool.get("name") for tool in recipe.tools]
    for number, name in enumerate(names, 1):
        if not isinstance(name, str) or not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", name):
            what = f"Tool {number:,} has no name that the API takes."
            fix = "Name it with letters, digits, - and _, at most 128."
            yield Problem(what, field="tools", fix=fix)
        elif names.index(name) < number - 1:
            what = f"Tools {names.index(name) + 1:,} and {number:,} are both named `{name}`."
            yield Problem(what, field="tools", fix="Rename one.")
    if recipe.tool_choice and not recipe.tools:
        yield Problem("tool_choice without tools.", field="tool_choice", fix="Add the tools.")


def _check_output(recipe: Recipe) -> Iterator[Problem]:
    schema = recipe.output_format
    if schema is not None and not {"type", "$ref", "anyOf", "allOf"} & schema.keys():
        yield Problem(
            "The output format is not a JSON schema: it has no type.",
            field="output_format",
            fix='Write the schema itself, such as `{"type": "object", "properties": ...}`.',
        )


def _check_extra(recipe: Recipe, api_version: str) -> Iterator[Problem]:
    for name, value in recipe.extra.items():
        if name in OWN_FIELDS:
            fix = "Set it in its own field."
            yield Problem(f"`{name}` is set in extra parameters.", field="extra", fix=fix)
        elif why := refused(name, value, api_version):
            yield Problem(f"`{name}` {why}", field="extra", fix="Delete it.")
        elif name not in EXTRA + SAMPLING + NOT_IN_A_BATCH:
            what = f"`{_short(name)}`: no such parameter of the Messages API."
            yield _unknown(what, "extra", name, EXTRA, "Parameters")
    config = recipe.extra.get("output_config", {})
    if not isinstance(config, dict):
        fix = 'Write an object such as `{"effort": "low"}`.'
        yield Problem("output_config is not an object.", field="extra", fix=fix)
    elif "format" in config and recipe.output_format is not None:
        fix = "Keep one of the two."
        yield Problem("The output format is given twice.", field="extra", fix=fix)


def refused(name: str, value: object, api_version: str = API_VERSION) -> str:
    """Why no request of a batch may have this parameter; empty when it may."""
    if name in SAMPLING and api_version >= "2026-10-21":
        return "is refused by the API since version 2026-10-21 (even at its default)."
    if name in NOT_IN_A_BATCH and value is not None and value is not False:
        return "is not allowed in a batch."
    return ""


def _unknown(
    what: str, field: str, name: str, known: Sequence[str], word: str = "Columns"
) -> Problem:
    """Did you mean ...? Or, where nothing is near, what there is."""
    by_folded = {other.casefold(): other for other in reversed(known)}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    if not near:
        return Problem(what, field=field, fix=_list(known, word))
    meant = by_folded[near[0]]
    return Problem(what, field=field, fix=f"Did you mean `{meant}`?", wrong=name, right=meant)


def _list(names: Sequence[str], word: str = "Columns") -> str:
    listed = ", ".join(f"`{_short(name)}`" for name in names[:12])
    more = f" and {len(names) - 12:,} more" if len(names) > 12 else ""
    return f"{word}: {listed}{more}."


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
