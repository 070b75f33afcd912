"""The addresses of a page of answers: its filters, its pager, and what they carry along."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest

from batches.models import Batch, Result
from batches.reading import Filter, Page
from batches.searching import Found
from batches.templatetags.answers import look

TYPES = {
    "": "All",
    "succeeded": "Succeeded",
    "errored": "Errored",
    "canceled": "Canceled",
    "expired": "Expired",
    "missing": "Missing",
}


def with_query(address: str, parameters: dict[str, Any]) -> str:
    return f"{address}?{urlencode(parameters, doseq=True)}" if parameters else address


def query_without(request: HttpRequest, *names: str) -> dict[str, Any]:
    return {name: values for name, values in request.GET.lists() if name not in names}


def make_chips(request: HttpRequest, batch: Batch, chosen: Filter) -> list[dict[str, Any]]:
    """Filters with how many answers each has; without those that have none."""
    rest = query_without(request, "type", "stop", "error", "from")
    return [
        {
            "said": said,
            "count": one.count(batch),
            "url": with_query(request.path, one.parameters() | rest),
            "current": one == chosen,
        }
        for one, said in name_filters(batch, chosen).items()
        if one in (chosen, Filter()) or one.count(batch)
    ]


def name_filters(batch: Batch, chosen: Filter) -> dict[Filter, str]:
    """The kinds of errors stand among them once a person asked for errors."""
    filters = {Filter(type=name): said for name, said in TYPES.items()}
    concerns = {kind: sorted(found) for kind, found in batch.concerns.items()}
    filters |= {Filter(stop=stop): look(stop)[1] for stop in concerns.pop("succeeded", [])}
    if chosen.error or chosen.type == Result.Type.ERRORED:
        filters |= {Filter(error=one): one for errors in concerns.values() for one in errors}
    # One that a person typed, at the end.
    filters.setdefault(chosen, chosen.error or chosen.stop or chosen.type)
    return filters


def make_links(request: HttpRequest, page: Page | Found) -> dict[str, str]:
    """Where the pager leads; without what is not there."""
    rest = query_without(request, "from")
    places = {"next": page.next}
    if isinstance(page, Page):
        places |= {"previous": page.previous, "last": page.last}
    links = {
        name: with_query(request.path, rest | {"from": row})
        for name, row in places.items()
        if row is not None
    }
    everything = query_without(request, "from", "q")
    return links | {
        "first": with_query(request.path, rest),
        "clear": with_query(request.path, everything),
    }
