from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

CHOICES = ("system", "light", "dark")
YEAR = 365 * 24 * 3600


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Keep the choice in a cookie, so that the server writes it and nothing flashes."""
    choice = request.POST.get("theme", "")
    if choice not in CHOICES:
        return HttpResponseBadRequest("theme is one of system, light, dark")
    response = redirect(find_way_back(request))
    if choice == "system":
        response.delete_cookie("theme", samesite="Lax")
    else:
        response.set_cookie(
            "theme", choice, YEAR, secure=request.is_secure(), httponly=True, samesite="Lax"
        )
    return response


def read_theme(request: HttpRequest) -> str:
    """Light or dark; empty where the system says."""
    choice = request.COOKIES.get("theme", "")
    return choice if choice in CHOICES[1:] else ""


def find_way_back(request: HttpRequest) -> str:
    """The page where the form stood."""
    back = request.POST.get("next", "/")
    is_path = back.startswith("/") and url_has_allowed_host_and_scheme(back, None)
    return back if is_path else "/"
