from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from streaming.forms import ResultsForm
from streaming.showing import ShownTurn
from streaming.views.conversation import answer, refuse
from streaming.views.finding import MEMBER, find_turn
from streaming.views.go_on import is_last
from streaming.views.starting import Started, starts_relay

NOT_WAITING = "This answer waits for no result of a tool."


@require_POST
@starts_relay
def results(
    request: HttpRequest, slug: str, conversation: int, turn: int
) -> HttpResponse | Started:
    """What the tools gave that an answer called: the turn goes on with it."""
    found = find_turn(request, slug, conversation, turn, MEMBER)
    calls = ShownTurn(found, is_last=is_last(found)).asked_results
    form = ResultsForm(request.POST, calls=calls)
    if not calls or not form.is_valid():
        return refuse(request, found.conversation, NOT_WAITING)
    prompt = [{"role": "user", "content": form.blocks}]
    token = form.cleaned_data["token"]
    return answer(request, found.conversation, prompt, found.parameters, token=token)
