"""One state of one page, as somebody comes to see it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from playwright.sync_api import Page


@dataclass(frozen=True)
class State:
    """What is looked at, by whom, after what was done on the page and while what holds."""

    name: str
    path: str
    who: str = "mei"
    do: Callable[[Page], None] | None = None
    during: Callable[[], AbstractContextManager[None]] = nullcontext
    # Where it is there to be seen.
    widths: tuple[int, ...] = (1440, 390)
    # Of every page one or a few states; the others are only photographed.
    main: bool = False
