from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from workspaces.models import Membership, Workspace
from workspaces.people import LastOwner, refuse_without_owner, set_role


@admin.register(Workspace)
class WorkspaceAdmin(admin.ModelAdmin):
    list_display = ("name", "slug", "timezone", "retention_days")
    # In Settings it is told first what fewer days would delete.
    readonly_fields = ("retention_days",)
    search_fields = ("name", "slug")

    def has_delete_permission(self, *args: object) -> bool:
        """Deleting would cascade past the archive and past what still runs at the API."""
        return False


class MembershipForm(forms.ModelForm):
    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        member = self.instance
        if member.pk and "role" in data:
            try:
                refuse_without_owner(member.workspace, member.user, data["role"])
            except LastOwner as error:
                raise ValidationError(str(error)) from None
        return data


@admin.register(Membership)
class MembershipAdmin(admin.ModelAdmin):
    form = MembershipForm
    list_display = ("user", "workspace", "role", "seen_at")
    list_filter = ("role",)
    list_select_related = ("user", "workspace")
    search_fields = ("user__username", "workspace__slug")
    fields = ("workspace", "user", "role")
    autocomplete_fields = ("user", "workspace")

    def get_readonly_fields(self, request: HttpRequest, obj: Membership | None = None) -> tuple:
        return ("workspace", "user") if obj else ()

    def save_model(self, request: HttpRequest, obj: Membership, *args: object) -> None:
        """As everywhere: with the event, and never without an owner."""
        actor: Any = request.user
        saved = set_role(obj.workspace, obj.user, obj.role, actor=actor)
        obj.pk = saved.pk

    def has_delete_permission(self, request: HttpRequest, obj: Membership | None = None) -> bool:
        if obj is not None:
            try:
                refuse_without_owner(obj.workspace, obj.user, Membership.Role.VIEWER)
            except LastOwner:
                return False
        return super().has_delete_permission(request, obj)
