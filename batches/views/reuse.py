from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from batches.views.finding import MEMBER, find_batch


@require_POST
def reuse(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    found = find_batch(request, slug, batch, MEMBER)
    return redirect("batches:overview", slug=slug, batch=found.pk)
