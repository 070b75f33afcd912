from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from leases.clock import database_now
from streaming.listing import Listed, read_listed
from streaming.models import Conversation, Turn
from streaming.storing import end_abandoned
from workspaces.access import workspace_for
from workspaces.live import Region
from workspaces.models import Workspace

PER_PAGE = 50
SECONDS = 5


@require_safe
def conversations(request: HttpRequest, slug: str) -> HttpResponse:
    """The workspace's conversations, the one that was used last first."""
    workspace = workspace_for(request, slug)
    context = {"workspace": workspace, "table": table_of(request, workspace)}
    return render(request, "streaming/conversations.html", context)


@require_safe
def conversations_live(request: HttpRequest, slug: str) -> HttpResponse:
    workspace = workspace_for(request, slug)
    return table_of(request, workspace).answer()


def table_of(request: HttpRequest, workspace: Workspace) -> Region:
    turned = read_place(request.GET.get("before", ""))
    rows = newest(workspace, PER_PAGE + 1, turned)
    page = rows[:PER_PAGE]
    context: dict[str, Any] = {
        "workspace": workspace,
        "rows": page,
        "turned": turned is not None,
        "older": place_of(page[-1].conversation) if len(rows) > PER_PAGE else "",
    }
    return Region(
        request,
        "conversations",
        "streaming/table.html",
        context,
        url=reverse("streaming:conversations_live", args=[workspace.slug]),
        seconds=SECONDS if any(row.is_live for row in page) else None,
    )


def newest(
    workspace: Workspace, count: int, before: tuple[datetime, int] | None = None
) -> list[Listed]:
    live = Turn.objects.filter(conversation__workspace=workspace)
    end_abandoned(live, database_now())
    found: QuerySet[Conversation] = Conversation.objects.filter(workspace=workspace)
    if before is not None:
        at, pk = before
        found = found.filter(Q(updated_at__lt=at) | Q(updated_at=at, pk__lt=pk))
    rows = found.select_related("created_by").order_by("-updated_at", "-pk")[:count]
    return read_listed(list(rows))


def place_of(conversation: Conversation) -> str:
    """Where the page after this conversation begins."""
    return f"{conversation.updated_at.timestamp():.6f}_{conversation.pk}"


def read_place(text: str) -> tuple[datetime, int] | None:
    at, _, pk = text.partition("_")
    try:
        return datetime.fromtimestamp(float(at), database_now().tzinfo), min(int(pk), 2**62)
    except (ValueError, OverflowError, OSError):
        return None
