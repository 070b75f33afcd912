"""A form that opens as a dialog where there is htmx, and else is a page."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django_htmx.http import HttpResponseClientRedirect


def render_dialog(
    request: HttpRequest, template: str, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    base = "dialog" if request.htmx else "settings_page"  # type: ignore[attr-defined]
    context["base"] = f"workspaces/{base}.html"
    return render(request, template, context, status=status)


def leave_dialog(request: HttpRequest, url: str) -> HttpResponse:
    """To the page that the dialog stood on, drawn anew."""
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponseClientRedirect(url)
    return redirect(url)
