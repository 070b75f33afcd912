from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

CHOICES = ("system", "light", "dark")
YEAR = 365 * 24 * 3600


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Keep the choice in a cookie, so that the server writes it and nothing flashes."""
    choice, back = request.POST.get("theme", ""), request.POST.get("next", "/")
    if choice not in CHOICES:
        return HttpResponseBadRequest("theme is one of system, light, dark")
    if not url_has_allowed_host_and_scheme(back, {request.get_host()}):
        back = "/"
    response = redirect(back)
    if choice == "system":
        response.delete_cookie("theme", samesite="Lax")
    else:
        response.set_cookie(
            "theme", choice, YEAR, secure=request.is_secure(), httponly=True, samesite="Lax"
        )
    return response
