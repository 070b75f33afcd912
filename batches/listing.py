"""The list of batches: what is looked for, and how a page of it stays fresh cell by cell."""

import json
import zlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from batches.models import Batch
from batches.pages import LAST_ID, read_id
from claude_api.tolerant import clean
from workspaces.models import Workspace

SHELL = "-"
FROM_A_SHELL = "from a shell"
LONGEST = 200  # characters of what is looked for
LABELS_FROM = 500  # so many of the newest batches say which labels there are
NAMES = ("q", "state", "who", "label")


class Choice(NamedTuple):
    text: str
    url: str
    current: bool = False


class Menu(NamedTuple):
    name: str
    title: str
    choices: list[Choice]


class Filters:
    """What the address asks for; what it says that means nothing is not asked for."""

    def __init__(self, workspace: Workspace, query: Mapping[str, str]) -> None:
        self.workspace = workspace
        asked = {name: clean(query.get(name, ""))[:LONGEST].strip() for name in NAMES}
        if asked["state"] not in Batch.State.values:
            asked["state"] = ""
        self.asked = {name: value for name, value in asked.items() if value}

    @property
    def q(self) -> str:
        return self.asked.get("q", "")

    def apply(self, batches: QuerySet[Batch]) -> QuerySet[Batch]:
        if self.q:
            batches = batches.filter(self._finding(self.q))
        if state := self.asked.get("state"):
            batches = batches.filter(state=state)
        if who := self.asked.get("who"):
            wanted = {"created_by": None} if who == SHELL else {"created_by__username": who}
            batches = batches.filter(**wanted)
        if label := self.asked.get("label"):
            batches = with_label(batches, label)
        return batches

    @staticmethod
    def _finding(text: str) -> Q:
        found = Q(name__icontains=text) | Q(upload__filename__icontains=text)
        number = read_id(text.removeprefix("#"))
        return found if number is None or number == LAST_ID else found | Q(pk=number)

    def url(self, **changes: str) -> str:
        """The address of the same list with other filters, from its newest on."""
        query = {name: value for name, value in (self.asked | changes).items() if value}
        return "?" + urlencode(query)

    @property
    def chips(self) -> list[Choice]:
        """What is filtered by, each leading to the list without it."""
        chosen = [name for name in NAMES[1:] if name in self.asked]
        return [Choice(self.word(name), self.url(**{name: ""})) for name in chosen]

    def word(self, name: str) -> str:
        value = self.asked[name]
        if name == "state":
            return Batch.State(value).label
        return FROM_A_SHELL if name == "who" and value == SHELL else value

    @property
    def said(self) -> str:
        """in state Ended, by mei, labelled urgent"""
        before = {"state": "in state", "who": "by", "label": "labelled"}
        names = [name for name in before if name in self.asked]
        return ", ".join(f"{before[name]} {self.word(name)}" for name in names)

    @property
    def menus(self) -> list[Menu]:
        members = User.objects.filter(memberships__workspace=self.workspace).order_by("username")
        names = list(members.values_list("username", flat=True))
        states = [(str(state), state.label) for state in Batch.State]
        people = [(name, name) for name in names] + [(SHELL, FROM_A_SHELL)]
        labels = [(label, label) for label in labels_of(self.workspace)]
        menus = (("state", "State", states), ("who", "Who", people), ("label", "Label", labels))
        return [
            Menu(name, title, self._choices(name, values))
            for name, title, values in menus
            if values
        ]

    def _choices(self, name: str, values: Iterable[tuple[str, str]]) -> list[Choice]:
        current = self.asked.get(name)
        return [Choice(text, self.url(**{name: value}), value == current) for value, text in values]


def with_label(batches: QuerySet[Batch], label: str) -> QuerySet[Batch]:
    """SQLite keeps JSON as it was written, escapes and all; PostgreSQL shows the characters."""
    spelled = {json.dumps(label), json.dumps(label, ensure_ascii=False)}
    written = Q()
    for text in spelled:
        written |= Q(labels_text__contains=text)
    return batches.annotate(labels_text=Cast("labels", TextField())).filter(written)


def labels_of(workspace: Workspace) -> list[str]:
    newest = Batch.objects.filter(workspace=workspace, deleting_at=None).order_by("-pk")
    found = newest.values_list("labels", flat=True)[:LABELS_FROM]
    return sorted({label for labels in found for label in labels})


def mark(batch: Batch) -> str:
    """Changes when a cell of the Batch's row does."""
    cells = (
        batch.state,
        batch.rows,
        batch.succeeded,
        batch.answered,
        batch.sent,
        batch.left_out,
        batch.not_sent,
        batch.parts,
        batch.parts_ended,
        batch.cost,
    )
    return f"{zlib.crc32(repr(cells).encode()):x}"


def watched(batches: Iterable[Batch]) -> str:
    """Of the rows that can still change: `41.5f3a,40.77ab`, to ask with. Empty: none can."""
    return ",".join(
        f"{batch.pk}.{mark(batch)}" for batch in batches if not batch.final and not batch.is_draft
    )


def read_watched(text: str, most: int) -> dict[int, str]:
    """What `watched` gave; whatever else a person may have put there is nothing."""
    found = {}
    for one in text.split(",")[:most]:
        number, _, seen = one.partition(".")
        pk = read_id(number)
        if pk is not None:
            found[pk] = seen
    return found
