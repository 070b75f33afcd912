from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from workspaces.access import memberships_of


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The choice of workspaces; with only one there is nothing to choose."""
    memberships = list(memberships_of(request.user))
    if len(memberships) == 1:
        return redirect("batches:home", slug=memberships[0].workspace.slug)
    return render(request, "workspaces/index.html", {"memberships": memberships})
