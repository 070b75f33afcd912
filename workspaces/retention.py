"""How long a workspace keeps what it made, and what of it is older.

The apps that make things register what they keep: this one knows none of them. Whoever saves a
number of days is told first how much is older; the worker then prunes every hour.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from django.db import transaction

from workspaces.models import Event, Workspace

if TYPE_CHECKING:
    from django.contrib.auth.models import User

LONGEST = 36_500


class Kind(NamedTuple):
    """One kind of thing that is kept; both callables are given the moment that is old enough."""

    one: str
    many: str
    count_older: Callable[[Workspace, datetime], int]
    prune: Callable[[Workspace, datetime, datetime], int]


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    _kinds[kind.one] = kind


def limit(days: int, at: datetime) -> datetime:
    """What was last used before this is older."""
    return at - timedelta(days=days)


def find_older(workspace: Workspace, days: int, at: datetime) -> list[str]:
    """What is older than so many days now: `1 batch`, `12 conversations`; empty if nothing is."""
    before = limit(days, at)
    counted = ((kind, kind.count_older(workspace, before)) for kind in _kinds.values())
    return [
        f"{number:,} {kind.one if number == 1 else kind.many}" for kind, number in counted if number
    ]


def prune(workspace: Workspace, at: datetime) -> int:
    """Delete what is older than the workspace keeps; how many things that were."""
    if workspace.retention_days is None:
        return 0
    before = limit(workspace.retention_days, at)
    return sum(kind.prune(workspace, before, at) for kind in _kinds.values())


def keep_for(workspace: Workspace, days: int | None, *, actor: "User | None" = None) -> bool:
    """Save for how long; None is until somebody deletes it. False where it is so already."""
    with transaction.atomic():
        held = Workspace.objects.select_for_update().get(pk=workspace.pk)
        if held.retention_days == days:
            return False
        Workspace.objects.filter(pk=workspace.pk).update(retention_days=days)
        Event.objects.create(
            workspace=workspace,
            actor=actor,
            subject=f"workspace:{workspace.pk}",
            verb="retention",
            sentence=f"Results are kept {say_days(days)}; before: {say_days(held.retention_days)}.",
        )
    return True


def say_days(days: int | None) -> str:
    if days is None:
        return "until somebody deletes them"
    return f"for {days:,} day" + ("s" if days != 1 else "")
