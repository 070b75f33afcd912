from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from batches.costing import add_spans
from batches.listing import Filters, mark, read_watched, watched
from batches.models import Batch, Run
from batches.pages import Page
from workspaces.access import refusal, workspace_for
from workspaces.models import ApiKey, Membership, Workspace

PER_PAGE = 50


@require_safe
def batches(request: HttpRequest, slug: str) -> HttpResponse:
    """The workspace's batches, newest first."""
    workspace = workspace_for(request, slug)
    filters = Filters(workspace, request.GET)
    page = Page.read(filters.apply(listed(workspace)), request.GET, PER_PAGE)
    limit_costs(page.batches)
    context: dict[str, Any] = {
        "workspace": workspace,
        "filters": filters,
        "page": page,
        "newer": filters.url(after=str(page.newer or "")),
        "older": filters.url(before=str(page.older or "")),
        "watched": watched(page.batches),
        "costs": shows_costs(workspace),
        **first_steps(workspace),
    }
    return render(request, "batches/batches.html", context)


@require_safe
def batches_live(request: HttpRequest, slug: str) -> HttpResponse:
    """The cells that changed since the page saw them; no row comes or goes under the pointer."""
    workspace = workspace_for(request, slug)
    seen = read_watched(request.GET.get("rows", ""), PER_PAGE)
    rows = list(listed(workspace).filter(pk__in=seen))
    changed = [batch for batch in rows if mark(batch) != seen[batch.pk]]
    if not changed and rows:
        return HttpResponse(status=204)
    limit_costs(changed)
    context = {
        "workspace": workspace,
        "changed": changed,
        "watched": watched(rows),
        "costs": shows_costs(workspace),
    }
    return render(request, "batches/table_live.html", context)


def shows_costs(workspace: Workspace) -> bool:
    """Not while the sandbox answers, which bills nothing."""
    key = workspace.live_key()
    return key is None or key.api != ApiKey.Api.SANDBOX


def limit_costs(rows: list[Batch]) -> None:
    """Give each Batch whose cost is not known yet what it may cost `at most`, if its Runs say."""
    estimates: dict[int, list[Any]] = {batch.pk: [] for batch in rows if batch.cost is None}
    sent = Run.objects.filter(batch__in=estimates).exclude(state=Run.State.REFUSED)
    for batch, estimate in sent.values_list("batch", "estimate"):
        estimates[batch].append(estimate)
    for row in rows:
        span = add_spans(estimates.get(row.pk, []))
        row.most = span.most if span else None  # type: ignore[attr-defined]


def first_steps(workspace: Workspace) -> dict[str, Any]:
    """For a workspace without a batch, and for those who may not make one."""
    return {
        "has_key": workspace.live_key() is not None,
        "has_sandbox": bool(settings.SANDBOX_URL),
        "refusal": refusal(workspace, Membership.Role.MEMBER),
    }


def listed(workspace: Workspace) -> Any:
    found = Batch.objects.filter(workspace=workspace, deleting_at=None)
    return found.select_related("upload", "created_by")
