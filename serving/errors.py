import logging
import secrets

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from serving.headers import add_headers
from serving.theme import read_theme

logger = logging.getLogger(__name__)


def server_error(request: HttpRequest) -> HttpResponse:
    """A page without the database, and the reference that finds the failure in the log."""
    reference = f"{secrets.token_hex(2)}-{secrets.token_hex(2)}"
    logger.error("reference %s: %s %s failed", reference, request.method, request.path)
    return render_plainly(request, "500.html", 500, reference=reference)


def form_too_old(request: HttpRequest, reason: str = "") -> HttpResponse:
    """What is sent without the token of a form, or with one from before the last sign-in."""
    return render_plainly(request, "403_csrf.html", 403)


def render_plainly(
    request: HttpRequest, template: str, status: int, **context: str
) -> HttpResponse:
    """Without what a page asks the database for, and in the theme that was chosen."""
    return HttpResponse(
        render_to_string(template, {"theme": read_theme(request), **context}), status=status
    )


def too_large(limit: int) -> HttpResponse:
    """What the server itself says, before there is a request that a view could answer."""
    text = render_to_string("413.html", {"megabytes": limit // 2**20})
    response = HttpResponse(text, status=413)
    add_headers(HttpRequest(), response)
    return response
