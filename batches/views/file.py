from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from batches.views.finding import find_batch


@require_safe
def file(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    found = find_batch(request, slug, batch)
    return render(request, "batches/batch.html", {"batch": found})


@require_safe
def file_live(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    find_batch(request, slug, batch)
    return HttpResponse(status=204)


@require_safe
def file_problems(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    find_batch(request, slug, batch)
    return HttpResponse(content_type="text/csv")
