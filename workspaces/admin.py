from django.contrib import admin

from workspaces.models import Membership, Workspace


class MembershipInline(admin.TabularInline):
    model = Membership
    extra = 0
    autocomplete_fields = ("user",)
    readonly_fields = ("seen_at",)


@admin.register(Workspace)
class WorkspaceAdmin(admin.ModelAdmin):
    list_display = ("name", "slug", "timezone", "retention_days")
    search_fields = ("name", "slug")
    inlines = (MembershipInline,)

    def has_delete_permission(self, *args: object) -> bool:
        """Deleting would cascade past the archive and past what still runs at the API."""
        return False


@admin.register(Membership)
class MembershipAdmin(admin.ModelAdmin):
    list_display = ("user", "workspace", "role", "seen_at")
    list_filter = ("role",)
    search_fields = ("user__username", "workspace__slug")
    autocomplete_fields = ("user", "workspace")
    readonly_fields = ("seen_at",)
