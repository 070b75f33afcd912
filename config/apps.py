from django.contrib.admin import apps


class AdminConfig(apps.AdminConfig):
    default_site = "workspaces.admin_site.AdminSite"
