from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from workspaces.access import require
from workspaces.models import Membership


@require_safe
def new(request: HttpRequest, slug: str) -> HttpResponse:
    workspace = require(request, slug, Membership.Role.MEMBER)
    return render(request, "batches/new.html", {"workspace": workspace})
