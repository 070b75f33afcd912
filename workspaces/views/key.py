from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_safe
from django_htmx.http import HttpResponseClientRefresh

from leases.clock import database_now
from workspaces import key_checks
from workspaces.access import owner_names, require, workspace_for
from workspaces.forms import KeyForm
from workspaces.keys import remove_key
from workspaces.live import Region
from workspaces.models import ApiKey, KeyCheck, Membership, Workspace
from workspaces.views.dialog import leave_dialog, render_dialog

OWNER = Membership.Role.OWNER
LOOK_EVERY = 1  # seconds, while a key is checked


@require_http_methods(["GET", "HEAD", "POST"])
def key(request: HttpRequest, slug: str) -> HttpResponse:
    """The workspace's key as it stands, and what can be done about it."""
    if request.method == "POST":
        workspace = require(request, slug, OWNER)
        act(request, workspace)
        return redirect("workspaces:key", slug=slug)
    workspace = workspace_for(request, slug)
    state = read_state(workspace)
    context = {
        **state,
        "region": make_region(request, state),
        "form": KeyForm(),
        "owners": owner_names(workspace),
        **addresses(),
    }
    return render(request, "workspaces/key.html", context)


def act(request: HttpRequest, workspace: Workspace) -> None:
    """One of the buttons of the page, by its name."""
    actor: Any = request.user
    check = KeyCheck.objects.filter(workspace=workspace).first()
    if "check" in request.POST:
        key_checks.ask_for_live(workspace, actor=actor)
    elif "sandbox" in request.POST and settings.SANDBOX_URL:
        text = key_checks.sandbox_key(workspace)
        key_checks.ask_for_new(workspace, ApiKey.Api.SANDBOX, text, actor=actor)
    elif "replace" in request.POST and check and check.state == KeyCheck.State.ELSEWHERE:
        # Where its secret does not open any more, the page says so.
        if not check.why_unreadable():
            account = check.anthropic_workspace
            key_checks.make_live(check, database_now(), anthropic_workspace=account)
    elif "dismiss" in request.POST:
        key_checks.dismiss(workspace)


@require_safe
def key_live(request: HttpRequest, slug: str) -> HttpResponse:
    """While a key is checked its region; then the whole page, for its buttons are others."""
    state = read_state(workspace_for(request, slug))
    return (
        make_region(request, state).answer() if state["checking"] else HttpResponseClientRefresh()
    )


def read_state(workspace: Workspace) -> dict[str, Any]:
    at, key = database_now(), workspace.live_key()
    check = KeyCheck.objects.filter(workspace=workspace).first()
    return {
        "workspace": workspace,
        "key": key,
        "check": check,
        "checking": check is not None and check.state == KeyCheck.State.CHECKING,
        "paused": key is not None and key.paused(at),
        "no_worker": check is not None and check.is_waiting_for_a_worker(at),
    }


def make_region(request: HttpRequest, state: dict[str, Any]) -> Region:
    url = reverse("workspaces:key_live", kwargs={"slug": state["workspace"].slug})
    seconds = LOOK_EVERY if state["checking"] else None
    return Region(request, "key", "workspaces/key_state.html", state, url=url, seconds=seconds)


@sensitive_post_parameters("key")
@sensitive_variables("form")
@require_http_methods(["GET", "HEAD", "POST"])
def key_replace(request: HttpRequest, slug: str) -> HttpResponse:
    """Take a key and have it checked; the one that works stays until the new one does."""
    workspace = require(request, slug, OWNER)
    form = KeyForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        text, actor = form.cleaned_data["key"], request.user
        key_checks.ask_for_new(workspace, ApiKey.Api.CLAUDE, text, actor=actor)  # type: ignore[arg-type]
        url = reverse("workspaces:key", kwargs={"slug": slug})
        return leave_dialog(request, url)
    context = {"workspace": workspace, "key": workspace.live_key(), "form": form, **addresses()}
    status = 422 if form.is_bound else 200
    return render_dialog(request, "workspaces/key_replace.html", context, status)


@require_http_methods(["GET", "HEAD", "POST"])
def key_remove(request: HttpRequest, slug: str) -> HttpResponse:
    workspace = require(request, slug, OWNER)
    if request.method == "POST":
        remove_key(workspace, actor=request.user)  # type: ignore[arg-type]
        return leave_dialog(request, reverse("workspaces:key", kwargs={"slug": slug}))
    context = {"workspace": workspace, "key": workspace.live_key()}
    return render_dialog(request, "workspaces/key_remove.html", context)


def addresses() -> dict[str, str]:
    return {"claude_url": settings.CLAUDE_API_URL, "sandbox_url": settings.SANDBOX_URL}
