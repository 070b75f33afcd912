from collections.abc import Iterator
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from batches.grouping import Group, group_problems, say_sum
from batches.models import Batch
from batches.retry_review import RetryReview, can_retry
from batches.views.finding import find_batch
from batches.views.recipe import who_can
from batches.views.retry import read_selection
from leases.clock import database_now

# Of more rows the price is worked out when somebody asks for it.
MOST_PRICED = 200


class Shown(NamedTuple):
    """A group, how many of its rows may go as they are, and at what price."""

    group: Group
    rows: int = 0
    price: str = ""


@require_safe
def problems(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """The rows that need a person, in groups with what to do."""
    found = find_batch(request, slug, batch)
    if found.is_draft:
        return redirect("batches:overview", slug=slug, batch=batch)
    retries = can_retry(found)
    groups = group_problems(found)
    context = {
        "batch": found,
        "workspace": found.workspace,
        "groups": list(price(found, groups)) if retries else [Shown(group) for group in groups],
        "retries": retries,
        "sum": say_sum(found),
        "who_can": who_can(found.workspace),
    }
    return render(request, "batches/problems.html", context)


def price(batch: Batch, groups: list[Group]) -> Iterator[Shown]:
    at = database_now()
    for group in groups:
        if group.way != "retry":
            yield Shown(group)
            continue
        selection = read_selection(QueryDict(group.retry_query))
        looked_at = RetryReview(batch, selection, at, asks=False)
        known = looked_at.rows <= MOST_PRICED and (looked_at.sandboxed or looked_at.forecast)
        yield Shown(group, looked_at.rows, looked_at.price() if known else "")
