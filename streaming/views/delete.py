from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from leases.clock import database_now
from streaming.deleting import forget
from streaming.storing import end_abandoned
from streaming.views.finding import MEMBER, find_conversation


@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, slug: str, conversation: int) -> HttpResponse:
    """Forget a conversation for good; not while an answer is being written."""
    found = find_conversation(request, slug, conversation, MEMBER)
    at = database_now()
    actor: Any = request.user
    end_abandoned(found.turns.all(), at)
    if request.method == "POST" and forget(found, at, actor):
        messages.info(request, f"Deleted: {found.title}")
        return redirect("streaming:conversations", slug=slug)
    context = {
        "workspace": found.workspace,
        "conversation": found,
        "live": found.turns.live().first(),
        "turns": found.turns.count(),
        "form": "streaming/delete_form.html",
    }
    page = "delete_form" if request.htmx else "asked"  # type: ignore[attr-defined]
    status = 422 if request.method == "POST" else 200
    return render(request, f"streaming/{page}.html", context, status=status)
