"""Which worlds a run is made of, and what has to be seen of each planted bug."""

from collections.abc import Iterator
from typing import NamedTuple

NAIVE = "the naive client"


class Play(NamedTuple):
    """One world: what happens in it, how often, and from which seed."""

    scene: str
    times: int
    seed: int
    bug: str = ""


class Caught(NamedTuple):
    """Where a planted bug does its harm, and the words of the checker for just that harm."""

    scene: str
    times: int
    shows: str


# How often each scene hurts one world, and its share of the submits or collects that are asked for.
SUBMITS = {
    "submit": (26, 1.05),
    "looked for": (8, 0.12),
    "submit while answers get lost": (10, 0.2),
    "look alikes": (4, 0.04),
    "given up": (3, 0.03),
    "redirected": (3, 0.02),
    "pauses": (6, 0.06),
    "database restored": (3, 0.02),
    "storm": (8, 0.12),
}
COLLECTS = {
    "collect": (20, 1.05),
    "collect what is spoilt": (10, 0.2),
    "the first download is spoilt": (3, 0.06),
    "counts of another type": (3, 0.03),
}
OTHERS = {
    "build": (8, 0.32),
    "cancel": (8, 0.32),
    "cancel what is unknown": (4, 0.16),
    "delete": (8, 0.32),
    "retries": (8, 0.32),
    "pauses before the wire": (2, 0.02),
}
TIMES = {name: times for name, (times, _) in (SUBMITS | COLLECTS | OTHERS).items()}
# What `make test` runs: the longest come first, so that no core waits for the last.
SMALL = {"submit": 13, "collect": 10, "storm": 2, "pauses before the wire": 1}

LOST_ANSWERS, SPOILT = "submit while answers get lost", "collect what is spoilt"
CAUGHT_BY = {
    "create is retried": Caught(LOST_ANSWERS, 10, "double"),
    "unknown is sent again": Caught(LOST_ANSWERS, 10, "double"),
    "overloaded means not created": Caught(LOST_ANSWERS, 10, "double"),
    "intent comes after the wire": Caught("submit", 13, "double"),
    "fences are ignored": Caught("pauses before the wire", 1, "double"),
    "the lease is not checked": Caught("pauses before the wire", 1, "double"),
    "redirects are followed": Caught("redirected", 1, "elsewhere got"),
    "there is no journal": Caught("database restored", 1, "double"),
    "the journal comes after the database": Caught("submit", 13, "created.json does not say so"),
    "the nonce is not checked": Caught("look alikes", 4, "wrong adoption"),
    "somebody is asked too soon": Caught(LOST_ANSWERS, 10, "somebody was asked"),
    "answers are not counted": Caught(SPOILT, 10, "lost: the results file"),
    "types are not counted": Caught("counts of another type", 1, "is stored with"),
    "the key is logged": Caught("submit", 2, "the key stands in the log"),
    "foreign answers are taken": Caught(SPOILT, 10, "shows another line"),
    "a cancelled part is given up": Caught("cancel what is unknown", 4, "lost: the results file"),
    "the first answers count": Caught("the first download is spoilt", 1, "lost: the results file"),
}
# Each draws another order of events.
BUG_SEEDS = 3


def everything(trials: int, seed: int) -> Iterator[Play]:
    """Worlds until so many submits were hurt, half as many collects, and a quarter of the rest."""
    for scenes, wanted in ((SUBMITS, trials), (COLLECTS, trials / 2), (OTHERS, trials / 4)):
        for name, (times, share) in scenes.items():
            left = max(times, round(wanted * share))
            while left > 0:
                yield Play(name, min(times, left), seed)
                seed += 1
                left -= times


def small(seed: int) -> Iterator[Play]:
    for name, times in SMALL.items():
        yield Play(name, times, seed)


def planted(bugs: list[str], seed: int) -> Iterator[Play]:
    for bug in bugs:
        scene, times, _ = CAUGHT_BY[bug]
        yield Play(scene, times, seed, bug)
