"""What is found in the requests of a draft before anything is sent. Pure.

One pass over rendered requests; what is kept does not grow with their number.
"""

import random
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from batches.problems import Problem
from batches.recipe import Rendered

KEPT_PROBLEMS = 100
KEPT_SECRETS = 20
MOST_GROUPS = 50
SAMPLE = 200
COUNTED = 10
CACHED = b'"cache_control"'
US = "us"

# What a secret begins with, and what it looks like whole. The first is looked for in every
# request, the second only where the first is.
SECRETS = {
    b"sk-ant-": rb"sk-ant-[A-Za-z0-9_-]{16,}",
    b"AKIA": rb"AKIA[0-9A-Z]{16}",
    b"PRIVATE KEY": rb"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    b"sk_live_": rb"sk_live_[A-Za-z0-9]{16,}",
    b"ghp_": rb"ghp_[A-Za-z0-9]{36}",
    b"github_pat_": rb"github_pat_[A-Za-z0-9_]{22,}",
    b"xoxb-": rb"xoxb-[A-Za-z0-9-]{16,}",
    b"AIza": rb"AIza[A-Za-z0-9_-]{35}",
}
_SECRETS = {start: re.compile(pattern) for start, pattern in SECRETS.items()}


class Tool(msgspec.Struct):
    type: Any = None


class Asked(msgspec.Struct):
    """What of a request bears on its cost."""

    model: str = ""
    max_tokens: int | float = 0
    inference_geo: Any = None
    system: msgspec.Raw = msgspec.Raw(b"")
    tools: msgspec.Raw = msgspec.Raw(b"")


class Sampled(msgspec.Struct, array_like=True):
    bytes: int
    row: int


class Group(msgspec.Struct, omit_defaults=True):
    """All requests to one model; `us` are those that may be answered in the US only."""

    model: str
    us: bool = False
    rows: int = 0
    bytes: int = 0
    cached_bytes: int = 0
    largest: int = 0
    # The sum of max_tokens, and the largest of them.
    output: int = 0
    most_output: int = 0
    searches: bool = False
    sample: list[Sampled] = []
    # (bytes, tokens) of the requests that the API has counted.
    counted: list[tuple[int, int]] = []

    def add(self, size: int, row: int, asked: Asked, cached: int, chance: random.Random) -> None:
        self.rows += 1
        self.bytes += size
        self.cached_bytes += cached
        self.output += int(asked.max_tokens)
        self.most_output = max(self.most_output, int(asked.max_tokens))
        self.searches = self.searches or b'"web_search_' in bytes(asked.tools)
        if size > self.largest:
            self.largest = size
            # The longest is always among those that are counted.
            self.sample.insert(0, Sampled(size, row))
            del self.sample[SAMPLE:]
        elif len(self.sample) < SAMPLE:
            self.sample.append(Sampled(size, row))
        elif (place := chance.randrange(1, self.rows)) < SAMPLE:
            self.sample[place] = Sampled(size, row)

    def spread(self, number: int) -> list[Sampled]:
        """So many of the sample, from the shortest to the longest."""
        ordered = sorted(self.sample, key=lambda one: (one.bytes, one.row))
        number = min(number, len(ordered))
        if number < 2:
            return ordered[-number:] if number else []
        places = [place * (len(ordered) - 1) // (number - 1) for place in range(number)]
        return [ordered[place] for place in dict.fromkeys(places)]


class Secret(msgspec.Struct, array_like=True):
    """A row that looks as if it held a secret, and what that begins with; never the secret."""

    row: int
    start: str


class Findings(msgspec.Struct, omit_defaults=True):
    """`rows` can be sent, `left_out` cannot; `problems` are the first of those."""

    rows: int = 0
    left_out: int = 0
    problems: list[Problem] = []
    groups: list[Group] = []
    first_row: int = 0
    largest: int = 0
    largest_row: int = 0
    secrets: list[Secret] = []
    secret_rows: int = 0

    @property
    def bytes(self) -> int:
        return sum(group.bytes for group in self.groups)

    @property
    def tokens_are_counted(self) -> bool:
        return bool(self.groups) and all(group.counted for group in self.groups)

    def forget_counts(self) -> None:
        """Some of the requests alone would stand for all of them."""
        for group in self.groups:
            group.counted = []

    def to_count(self) -> Iterator[tuple[Group, Sampled]]:
        """About ten requests whose tokens tell those of all; each model has its own."""
        each = max(1, COUNTED // max(len(self.groups), 1))
        for group in self.groups:
            for sampled in group.spread(each):
                yield group, sampled


class Finder:
    """Takes the rows of a draft one after another."""

    def __init__(self) -> None:
        self.findings = Findings()
        self._groups: dict[tuple[str, bool], Group] = {}
        # The same rows give the same sample, so that the same draft has the same estimate.
        self._chance = random.Random(0)
        self._read = msgspec.json.Decoder(Asked)

    def leave_out(self, problems: list[Problem]) -> None:
        found = self.findings
        found.left_out += 1
        if len(found.problems) < KEPT_PROBLEMS:
            found.problems += problems[: KEPT_PROBLEMS - len(found.problems)]

    def take(self, row: int, rendered: Rendered) -> None:
        found, params = self.findings, rendered.params
        size, asked = len(params), self._read.decode(params)
        found.rows += 1
        found.first_row = found.first_row or row
        if size > found.largest:
            found.largest, found.largest_row = size, row
        self._group(asked).add(size, row, asked, cached_bytes(params, asked), self._chance)
        if start := find_secret(params):
            found.secret_rows += 1
            if len(found.secrets) < KEPT_SECRETS:
                found.secrets.append(Secret(row, start))

    def _group(self, asked: Asked) -> Group:
        key = (asked.model, asked.inference_geo == US)
        if key not in self._groups:
            if len(self._groups) >= MOST_GROUPS:
                key = ("", False)
            self._groups.setdefault(key, Group(*key, sample=[]))
            self.findings.groups = list(self._groups.values())
        return self._groups[key]


def cached_bytes(params: bytes, asked: Asked) -> int:
    """How much of a request may be written to the prompt cache, and read from it by others."""
    marks = params.count(CACHED)
    if not marks:
        return 0
    system, tools = bytes(asked.system), bytes(asked.tools)
    if marks == system.count(CACHED) + tools.count(CACHED):
        return len(system) + len(tools)
    return len(params)


def find_secret(text: bytes) -> str:
    """What a secret in the text begins with; empty where there seems to be none."""
    for start, pattern in _SECRETS.items():
        if start in text and pattern.search(text):
            return start.decode()
    return ""
