from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from batches.grouping import group_problems, say_sum
from batches.views.finding import find_batch


@require_safe
def problems(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """The rows that need a person, in groups with what to do."""
    found = find_batch(request, slug, batch)
    if found.is_draft:
        return redirect("batches:overview", slug=slug, batch=batch)
    context = {
        "batch": found,
        "workspace": found.workspace,
        "groups": group_problems(found),
        "sum": say_sum(found),
    }
    return render(request, "batches/problems.html", context)
