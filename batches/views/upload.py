from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods, require_POST

from batches.views.finding import find_upload
from workspaces.access import require
from workspaces.models import Membership


@require_POST
def uploads(request: HttpRequest, slug: str) -> HttpResponse:
    require(request, slug, Membership.Role.MEMBER)
    return HttpResponse(status=422)


@require_http_methods(["GET", "PUT", "DELETE"])
def upload(request: HttpRequest, slug: str, upload: int) -> HttpResponse:
    find_upload(request, slug, upload)
    return HttpResponse(status=204)
