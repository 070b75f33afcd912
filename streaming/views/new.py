from datetime import timedelta
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from leases.clock import database_now
from streaming.asking import CannotAsk, begin, usable_key
from streaming.forms import AskForm
from streaming.models import Turn
from streaming.views.conversation import offers_of, url_of, why_not
from streaming.views.finding import MEMBER
from streaming.views.starting import Started, press, starts_relay
from workspaces.access import require
from workspaces.models import Workspace

# How long the same form may be sent once more and be known again.
PRESSED_WITHIN = timedelta(days=1)


@require_http_methods(["GET", "HEAD", "POST"])
@starts_relay
def new(request: HttpRequest, slug: str) -> HttpResponse | Started:
    """A first prompt, with the settings that were used last in the workspace."""
    workspace = require(request, slug, MEMBER)
    if request.method != "POST":
        form = AskForm.fresh(last_used(workspace), offers_of(workspace))
        return draw(request, workspace, form)
    form = AskForm(request.POST, offers=offers_of(workspace))
    if not form.is_valid():
        return draw(request, workspace, form, status=422)
    prompt = [{"role": "user", "content": form.cleaned_data["prompt"]}]
    token = form.cleaned_data["token"]
    try:
        return begin_with(request, workspace, prompt, form.parameters, token=token)
    except CannotAsk as error:
        return draw(request, workspace, form, str(error), 422)


def begin_with(
    request: HttpRequest,
    workspace: Workspace,
    prompt: list[dict[str, Any]],
    parameters: dict[str, Any],
    *,
    token: str,
    title: str = "",
    origin: str = "",
) -> HttpResponse | Started:
    """A conversation and its first turn, once however often the button was pressed."""
    at = database_now()
    with transaction.atomic():
        # The lock lets the second press find what the first one made.
        Workspace.objects.select_for_update().get(pk=workspace.pk)
        lately = workspace.conversations.filter(updated_at__gte=at - PRESSED_WITHIN)
        known = Turn.objects.filter(conversation__in=lately, token=token).first()
        if known is not None:
            return redirect(url_of(known.conversation))
        usable_key(workspace)
        title = title or str(prompt[-1]["content"])
        conversation = begin(workspace, title, at, actor=request.user, origin=origin)  # type: ignore[arg-type]
        pressed = press(conversation, prompt, parameters, at, token=token, actor=request.user)
    assert not isinstance(pressed, Turn)
    return Started(*pressed, redirect(url_of(conversation)))


def last_used(workspace: Workspace) -> dict[str, Any]:
    """The model that was asked last here, and nothing else of it."""
    turns = Turn.objects.filter(conversation__workspace=workspace).order_by("-pk")
    model = turns.values_list("parameters__model", flat=True).first()
    return {"model": model, "max_tokens": 4096} if model else {}


def draw(
    request: HttpRequest, workspace: Workspace, form: AskForm, problem: str = "", status: int = 200
) -> HttpResponse:
    context = {
        "workspace": workspace,
        "form": form,
        "problem": problem,
        "cannot": why_not(workspace),
    }
    return render(request, "streaming/new.html", context, status=status)
