from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from streaming.forms import AgainForm, new_token
from streaming.models import Turn
from streaming.showing import editable_text, with_text
from streaming.views.conversation import answer, refuse
from streaming.views.finding import MEMBER, find_turn
from streaming.views.starting import Started, starts_relay

GONE = "This turn was run again meanwhile."


@require_http_methods(["GET", "HEAD", "POST"])
@starts_relay
def again(request: HttpRequest, slug: str, conversation: int, turn: int) -> HttpResponse | Started:
    """Run a turn once more, as it was or with another text; what followed it is left behind."""
    found = find_turn(request, slug, conversation, turn, MEMBER)
    if request.method != "POST":
        return ask_for_text(request, found)
    form = AgainForm(request.POST)
    if found.replaced_at is not None:
        return refuse(request, found.conversation, GONE)
    if not form.is_valid():
        problem = " ".join(
            str(problem) for problems in form.errors.values() for problem in problems
        )
        return refuse(request, found.conversation, problem)
    prompt, parameters = found.prompt, found.parameters
    if "prompt" in request.POST and editable_text(found) is not None:
        text = form.cleaned_data["prompt"].replace("\r\n", "\n")
        if not text.strip():
            return ask_for_text(request, found, "Write what you want to know.")
        prompt = with_text(found, text)
    if form.cleaned_data["max_tokens"]:
        parameters = {**parameters, "max_tokens": form.cleaned_data["max_tokens"]}
    return answer(
        request,
        found.conversation,
        prompt,
        parameters,
        token=form.cleaned_data["token"],
        instead_of=found,
        continues=found.continues,
    )


def ask_for_text(request: HttpRequest, turn: Turn, problem: str = "") -> HttpResponse:
    """The text of a turn to change, as a dialog or as a page."""
    later = turn.conversation.turns.standing().filter(number__gt=turn.number).count()
    context = {
        "workspace": turn.conversation.workspace,
        "conversation": turn.conversation,
        "turn": turn,
        "text": editable_text(turn),
        "later": later,
        "token": new_token(),
        "problem": problem,
        "form": "streaming/again_form.html",
    }
    page = "again_form" if request.htmx else "asked"  # type: ignore[attr-defined]
    status = 422 if problem else 200
    return render(request, f"streaming/{page}.html", context, status=status)
