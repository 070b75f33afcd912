from django.contrib import admin

from batches.models import Batch


@admin.register(Batch)
class BatchAdmin(admin.ModelAdmin):
    """To look at only: what changes a Batch goes through its stages."""

    list_display = ("id", "name", "workspace", "state", "rows", "sent", "succeeded", "created_at")
    list_filter = ("state",)
    list_select_related = ("workspace",)
    search_fields = ("name", "workspace__slug")
    show_full_result_count = False

    def has_add_permission(self, *args: object) -> bool:
        return False

    def has_change_permission(self, *args: object) -> bool:
        return False

    def has_delete_permission(self, *args: object) -> bool:
        return False
