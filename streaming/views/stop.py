from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from leases.clock import database_now
from streaming.asking import request_stop
from streaming.views.conversation import url_of
from streaming.views.finding import MEMBER, find_turn


@require_POST
def stop(request: HttpRequest, slug: str, conversation: int, turn: int) -> HttpResponse:
    """End an answer that is being written; one that has ended stays as it is."""
    found = find_turn(request, slug, conversation, turn, MEMBER)
    request_stop(found, database_now(), request.user)  # type: ignore[arg-type]
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponse(status=204)
    return redirect(f"{url_of(found.conversation)}#composer")
