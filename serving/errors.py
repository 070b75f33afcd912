import logging
import secrets

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

logger = logging.getLogger(__name__)


def server_error(request: HttpRequest) -> HttpResponse:
    """A page without the database, and the reference that finds the failure in the log."""
    reference = f"{secrets.token_hex(2)}-{secrets.token_hex(2)}"
    logger.error("reference %s: %s %s failed", reference, request.method, request.path)
    return HttpResponse(render_to_string("500.html", {"reference": reference}), status=500)
