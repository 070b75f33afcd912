"""The page of a conversation, and what is sent of it when something changed."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from leases.clock import database_now
from streaming.asking import CannotAsk, usable_key
from streaming.forms import AskForm
from streaming.models import Conversation, Turn
from streaming.offers import Offers
from streaming.origins import Origin
from streaming.showing import ShownTurn, show, so_far
from streaming.storing import end_abandoned, fold_stored
from streaming.views.finding import MEMBER, VIEWER, find_conversation
from streaming.views.starting import Started, press, starts_relay
from workspaces.models import Workspace

PER_PAGE = 40
MOST_SEEN = 200


@require_http_methods(["GET", "HEAD", "POST"])
@starts_relay
def conversation(request: HttpRequest, slug: str, conversation: int) -> HttpResponse | Started:
    """Its turns, and the place to ask the next one."""
    role = MEMBER if request.method == "POST" else VIEWER
    found = find_conversation(request, slug, conversation, role)
    if request.method != "POST":
        return page(request, found)
    form = AskForm(request.POST, offers=offers_of(found.workspace))
    if not form.is_valid():
        return refuse(request, found, form=form)
    prompt = [{"role": "user", "content": form.cleaned_data["prompt"]}]
    token = form.cleaned_data["token"]
    return answer(request, found, prompt, form.parameters, form=form, token=token)


@require_safe
def conversation_live(request: HttpRequest, slug: str, conversation: int) -> HttpResponse:
    """What changed since the page was drawn, asked for every few seconds; 204 for nothing."""
    found = find_conversation(request, slug, conversation)
    if read_seen(request) == marks_of(found):
        return HttpResponse(status=204)
    return changes(request, found)


def marks_of(conversation: Conversation) -> list[str]:
    """How the newest turns stand; neither prompts nor answers are read for it."""
    end_abandoned(conversation.turns.all(), database_now())
    rows = conversation.turns.only("state", "replaced_at", "conversation").order_by("-number")
    return seen_of(list(show(list(rows[:PER_PAGE])[::-1], Offers())))


def answer(
    request: HttpRequest,
    conversation: Conversation,
    prompt: list[dict[str, Any]],
    parameters: dict[str, Any],
    *,
    form: AskForm | None = None,
    **how: Any,
) -> HttpResponse | Started:
    """Ask, and show the new turn; what stands in the way is said at the composer."""
    try:
        if how.get("instead_of") is None:
            refuse_while_calls_wait(conversation, prompt)
        pressed = press(conversation, prompt, parameters, database_now(), actor=request.user, **how)
    except CannotAsk as error:
        return refuse(request, conversation, str(error), form=form)
    asked = form is not None
    if isinstance(pressed, Turn):
        return see(request, conversation, asked=asked)
    return Started(*pressed, see(request, conversation, asked=asked))


def refuse_while_calls_wait(conversation: Conversation, prompt: list[dict[str, Any]]) -> None:
    """The API takes nothing but the results of tools after a turn that called them."""
    last = conversation.turns.standing().last()
    if last is None or not ShownTurn(last, is_last=True).asked_results:
        return
    content = prompt[0].get("content") if prompt else None
    if not isinstance(content, list):
        raise CannotAsk("Claude waits for the result of a tool: give it above.")


def see(request: HttpRequest, conversation: Conversation, *, asked: bool = True) -> HttpResponse:
    """The page with the newest turn: what changed of it, or the way to it."""
    if request.htmx:  # type: ignore[attr-defined]
        return changes(request, conversation, fresh_composer=asked)
    return redirect(f"{url_of(conversation)}#composer")


def refuse(
    request: HttpRequest, conversation: Conversation, problem: str = "", form: AskForm | None = None
) -> HttpResponse:
    """The same page with what is wrong, and with what was typed."""
    if not request.htmx:  # type: ignore[attr-defined]
        return page(request, conversation, form=form, problem=problem, status=422)
    context = page_context(conversation, form=form, problem=problem)
    template = "composer_changed" if form else "said_changed"
    return render(request, f"streaming/{template}.html", context, status=422)


def page(
    request: HttpRequest,
    conversation: Conversation,
    *,
    form: AskForm | None = None,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    before = request.GET.get("before", "")
    context = page_context(
        conversation,
        form=form,
        problem=problem,
        before=min(int(before[:9]), 10**9) if before.isdecimal() else 0,
    )
    return render(request, "streaming/conversation.html", context, status=status)


def changes(
    request: HttpRequest, conversation: Conversation, *, fresh_composer: bool = False
) -> HttpResponse:
    """The turns that the page has not, or has otherwise, each at its place."""
    context = page_context(conversation)
    seen = set(read_seen(request))
    known = {mark.split("-")[0] for mark in seen}
    new = [shown for shown in context["turns"] if shown.mark not in seen]
    context |= {
        "added": [shown for shown in new if str(shown.pk) not in known],
        "changed": [shown for shown in new if str(shown.pk) in known],
        "fresh_composer": fresh_composer,
    }
    return render(request, "streaming/changes.html", context)


def page_context(
    conversation: Conversation,
    *,
    form: AskForm | None = None,
    problem: str = "",
    before: int = 0,
) -> dict[str, Any]:
    turns = shown_turns(conversation, before)
    last = turns[-1] if turns else None
    return {
        "workspace": conversation.workspace,
        "conversation": conversation,
        "origin": Origin.of(conversation.origin),
        "turns": turns,
        "seen": ",".join(seen_of(turns)),
        "earlier": turns[0].turn.number if turns and turns[0].turn.number > 1 else 0,
        "is_newest": not before,
        "last": last,
        "live": next((shown for shown in turns if shown.turn.is_live), None),
        "form": form or AskForm.fresh(last_parameters(last), offers_of(conversation.workspace)),
        "problem": problem,
        "cannot": why_not(conversation.workspace),
    }


def shown_turns(conversation: Conversation, before: int = 0) -> list[ShownTurn]:
    """The newest turns, or those before a number, in order."""
    end_abandoned(conversation.turns.all(), database_now())
    rows = conversation.turns.select_related("requested_by", "stop_requested_by")
    if before:
        rows = rows.filter(number__lt=before)
    newest = list(rows.order_by("-number")[:PER_PAGE])
    turns = [fill(turn, conversation) for turn in reversed(newest)]
    shown = list(show(turns, offers_of(conversation.workspace)))
    if before:
        for one in shown:
            one.is_last = False
    return shown


def fill(turn: Turn, conversation: Conversation) -> Turn:
    """With what there is of its answer while it is being written."""
    turn.conversation = conversation
    if not turn.is_live:
        return turn
    snapshot, transcript, _ = fold_stored(turn.pk)
    return so_far(turn, snapshot, transcript.length)


def last_parameters(last: ShownTurn | None) -> dict[str, Any]:
    return last.turn.parameters if last else {}


def seen_of(turns: Sequence[ShownTurn]) -> list[str]:
    return [shown.mark for shown in turns]


def read_seen(request: HttpRequest) -> list[str]:
    given = request.POST if request.method == "POST" else request.GET
    return [mark for mark in given.get("seen", "").split(",")[:MOST_SEEN] if mark]


def offers_of(workspace: Workspace) -> Offers:
    key = workspace.live_key()
    return Offers(key.models if key else ())


def why_not(workspace: Workspace) -> str:
    """Why nothing can be asked in this workspace; empty where it can."""
    try:
        usable_key(workspace)
    except CannotAsk as error:
        return str(error)
    return ""


def url_of(conversation: Conversation) -> str:
    slug = conversation.workspace.slug
    return reverse("streaming:conversation", args=[slug, conversation.pk])
