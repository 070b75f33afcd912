from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from serving.theme import YEAR, find_way_back


@require_POST
def keys(request: HttpRequest) -> HttpResponse:
    """Switch the single-letter keys off, for who speaks to the computer or hits them by mistake."""
    choice = request.POST.get("keys", "")
    if choice not in ("on", "off"):
        return HttpResponseBadRequest("keys is one of on, off")
    response = redirect(find_way_back(request))
    if choice == "on":
        response.delete_cookie("keys", samesite="Lax")
    else:
        secure = request.is_secure()
        response.set_cookie("keys", "off", YEAR, secure=secure, httponly=True, samesite="Lax")
    return response
