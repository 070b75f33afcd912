"""One row of an upload as the request that would be sent, and how it looks to a person."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from batches.limits import Limits
from batches.live_request import LiveRequest
from batches.picking import Picked
from batches.problems import Problem
from batches.recipe import REQUEST_LIMIT, Recipe, Rendered, Renderer, Template

SHOWN = 4_000  # characters of one cell; the request has all of them


class Piece(NamedTuple):
    """Text of a template, then the cell of `column` where one follows."""

    text: str
    column: str
    cell: str
    more: int  # characters of the cell that are not shown


def named_texts(recipe: Recipe) -> list[tuple[str, str]]:
    """The templates of a recipe that are not blank."""
    given = [("System", recipe.system), ("Prompt", recipe.prompt)]
    return [(name, text) for name, text in given if text.strip()]


def fill(text: str, cells: Mapping[str, str]) -> Iterator[Piece]:
    """The text of a template, with the cell of each column where one is known."""
    for plain, column in Template(text).pieces():
        cell = cells.get(column, "")
        shown = cell if cell.strip() else ""
        yield Piece(plain, column, shown[:SHOWN], max(len(shown) - SHOWN, 0))


class Preview:
    """A sound recipe on one row."""

    def __init__(self, recipe: Recipe, columns: list[str], picked: Picked, limits: Limits) -> None:
        self.recipe, self.picked, self.row = recipe, picked, picked.row
        self._columns, self._model = columns, limits.find(recipe.model)
        rendered = Renderer(recipe, columns).render(self.row)
        self.rendered = rendered if isinstance(rendered, Rendered) else None
        self.problems: list[Problem] = [] if isinstance(rendered, Rendered) else rendered
        if self.row.reason:
            self.problems = []

    @property
    def texts(self) -> list[tuple[str, list[Piece]]]:
        """System and prompt, with the cells in them; none for a row that could not be read."""
        if self.row.reason:
            return []
        cells = dict(zip(self._columns, self.row.cells, strict=True))
        return [(name, list(fill(text, cells))) for name, text in named_texts(self.recipe)]

    @property
    def number_text(self) -> str:
        return str(self.row.number)

    @property
    def size(self) -> int:
        return len(self.rendered.params) if self.rendered else 0

    @property
    def limit(self) -> int:
        return REQUEST_LIMIT

    @property
    def live(self) -> LiveRequest | None:
        return LiveRequest.of(self.rendered.params) if self.rendered else None

    @property
    def tokens(self) -> int:
        return about_tokens(self.rendered.params) if self.rendered else 0

    @property
    def most_in(self) -> int | None:
        """What the model reads with at most; None where that is not known."""
        return self._model.max_input_tokens if self._model else None

    @property
    def fits(self) -> bool:
        return self.most_in is None or self.tokens + self.recipe.max_tokens <= self.most_in


def about_tokens(params: bytes) -> int:
    """Tokens in, by length alone, to two figures: four letters are one, or one Chinese sign.

    What it is exactly, the API counts for the review.
    """
    text = "".join(_texts(msgspec.json.decode(params)))
    ascii_letters = len(text.encode("ascii", "ignore"))
    tokens = ascii_letters / 4 + sum(
        0.4 if sign < "\u2e80" else 1 for sign in text if sign > "\x7f"
    )
    return max(1, int(float(f"{tokens:.2g}")))


def _texts(value: object) -> Iterator[str]:
    """All that is written in a request, the names of its fields left out but those of a schema."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in ("model", "type", "role"):
                yield from _texts(item)
