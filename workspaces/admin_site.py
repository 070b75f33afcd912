from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.decorators import method_decorator


class AdminSite(admin.AdminSite):
    """For superusers only, who sign in where everybody does, under the same limits."""

    site_header = site_title = "Sluice"
    index_title = "Installation"

    def has_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active and request.user.is_superuser

    @method_decorator(login_not_required)
    def login(self, request: HttpRequest, extra_context: dict | None = None) -> HttpResponse:
        if request.user.is_authenticated and not self.has_permission(request):
            raise Http404("the admin site is for superusers")
        return redirect_to_login(request.GET.get("next") or "/admin/")
