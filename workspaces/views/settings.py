from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from leases.clock import database_now
from workspaces.access import owner_names, require, workspace_for
from workspaces.forms import GeneralForm
from workspaces.models import Membership, Workspace
from workspaces.people import rename
from workspaces.retention import find_older, keep_for


@require_http_methods(["GET", "HEAD", "POST"])
def settings(request: HttpRequest, slug: str) -> HttpResponse:
    """The name and the address of the workspace, and for how long it keeps results."""
    if request.method == "POST":
        return save(request, slug)
    workspace = workspace_for(request, slug)
    form = GeneralForm(initial={"name": workspace.name, "days": workspace.retention_days})
    context = {"workspace": workspace, "form": form, "owners": owner_names(workspace)}
    return render(request, "workspaces/settings.html", context)


def save(request: HttpRequest, slug: str) -> HttpResponse:
    """Fewer days delete what is older: that is said first, and done only for who agrees to it."""
    workspace = require(request, slug, Membership.Role.OWNER)
    form, older = GeneralForm(request.POST), []
    if form.is_valid():
        days = form.cleaned_data["days"]
        older = what_would_go(workspace, days)
        if not older or request.POST.get("agreed") == str(days):
            keep_as_told(request, workspace, form)
            messages.success(request, "Saved.")
            return redirect("workspaces:settings", slug=slug)
    context = {"workspace": workspace, "form": form, "older": older}
    return render(request, "workspaces/settings.html", context, status=422)


def what_would_go(workspace: Workspace, days: int | None) -> list[str]:
    kept = workspace.retention_days
    if days is None or (kept is not None and days >= kept):
        return []
    return find_older(workspace, days, database_now())


def keep_as_told(request: HttpRequest, workspace: Workspace, form: GeneralForm) -> None:
    actor: Any = request.user
    rename(workspace, form.cleaned_data["name"], actor=actor)
    keep_for(workspace, form.cleaned_data["days"], actor=actor)
