"""What is wrong with a file or a recipe, said to the person who can mend it."""

import msgspec


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that keeps a row, or with row 0 the whole file, from being sent."""

    what: str
    row: int = 0
    column: str = ""
    fix: str = ""
    field: str = ""  # of the form, for a problem that belongs to none of the rows
    choice: str = ""  # for that field, where something else would mend it
    # A name in that field, and the one that is probably meant: what [Use it] puts in its place.
    wrong: str = ""
    right: str = ""

    def sentence(self, row_word: str = "Row") -> str:
        """All of it in one line: where, what, what to do. `row_word` is Row or Line."""
        place = f"{row_word} {self.row:,}" if self.row else ""
        if self.column:
            place = f"{place}, column `{self.column}`" if place else f"Column `{self.column}`"
        text = f"{place}: {self.what}" if place else self.what
        return f"{text} {self.fix}".strip()


class FileRefused(Exception):
    """The file cannot be read as rows; the problems say why, of the whole file."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(" ".join(problem.sentence() for problem in problems))
        self.problems = list(problems)
