from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from streaming import asking
from streaming.models import Turn
from streaming.showing import ShownTurn
from streaming.views.conversation import answer, refuse
from streaming.views.finding import MEMBER, find_turn
from streaming.views.starting import Started, starts_relay


@require_POST
@starts_relay
def go_on(request: HttpRequest, slug: str, conversation: int, turn: int) -> HttpResponse | Started:
    """Ask for the rest of an answer that broke off, or that Claude paused."""
    found = find_turn(request, slug, conversation, turn, MEMBER)
    token = request.POST.get("token", "")[:64]
    if not token or not ShownTurn(found, is_last=is_last(found)).may_go_on:
        return refuse(request, found.conversation, "This answer cannot be gone on with any more.")
    if found.stop_reason == "pause_turn" and found.state == Turn.State.DONE:
        # What was answered so far is sent back as it is, and Claude goes on with it.
        return answer(request, found.conversation, [], found.parameters, token=token)
    prompt = asking.go_on(found)
    return answer(
        request, found.conversation, prompt, found.parameters, token=token, continues=found
    )


def is_last(turn: Turn) -> bool:
    last = turn.conversation.turns.standing().last()
    return last is not None and last.pk == turn.pk
