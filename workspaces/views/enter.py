from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from workspaces.access import memberships_of


@require_safe
def enter(request: HttpRequest) -> HttpResponse:
    """`/`: to the workspace of the last visit, else to the choice."""
    last = memberships_of(request.user).exclude(seen_at=None).order_by("-seen_at").first()
    if last is None:
        return redirect("workspaces:index")
    return redirect("batches:home", slug=last.workspace.slug)
