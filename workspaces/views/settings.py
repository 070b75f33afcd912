from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from workspaces.access import owner_names, require, workspace_for
from workspaces.forms import NameForm
from workspaces.models import Membership
from workspaces.people import rename


@require_http_methods(["GET", "HEAD", "POST"])
def settings(request: HttpRequest, slug: str) -> HttpResponse:
    """The name and the address of the workspace."""
    if request.method == "POST":
        return save(request, slug)
    workspace = workspace_for(request, slug)
    form = NameForm(initial={"name": workspace.name})
    context = {"workspace": workspace, "form": form, "owners": owner_names(workspace)}
    return render(request, "workspaces/settings.html", context)


def save(request: HttpRequest, slug: str) -> HttpResponse:
    workspace = require(request, slug, Membership.Role.OWNER)
    form = NameForm(request.POST)
    if not form.is_valid():
        context = {"workspace": workspace, "form": form}
        return render(request, "workspaces/settings.html", context, status=422)
    rename(workspace, form.cleaned_data["name"], actor=request.user)  # type: ignore[arg-type]
    messages.success(request, "Saved.")
    return redirect("workspaces:settings", slug=slug)
