from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.db.models.base import ModelBase
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.decorators import method_decorator

# An app that brings an admin page of its own may not bring secrets with it.
SHOWN = {"auth.user", "workspaces.workspace", "workspaces.membership", "batches.batch"}


class AdminSite(admin.AdminSite):
    """For superusers only, who sign in where everybody does, under the same limits."""

    site_header = site_title = "Sluice"
    index_title = "Installation"

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        one = isinstance(model_or_iterable, ModelBase)
        given: Iterable[Any] = [model_or_iterable] if one else model_or_iterable
        shown = [model for model in given if model._meta.label_lower in SHOWN]
        super().register(shown, admin_class, **options)

    def has_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active and request.user.is_superuser

    @method_decorator(login_not_required)
    def login(self, request: HttpRequest, extra_context: dict | None = None) -> HttpResponse:
        if request.user.is_authenticated and not self.has_permission(request):
            raise Http404("the admin site is for superusers")
        return redirect_to_login(reverse("admin:index"))
