from django.contrib import admin
from django.urls import include, path

from serving.health import health
from serving.keys import keys
from serving.theme import theme

urlpatterns = [
    path("", include("workspaces.urls")),
    path("", include("batches.urls")),
    path("", include("streaming.urls")),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("health", health, name="health"),
    path("theme/", theme, name="theme"),
    path("keys/", keys, name="keys"),
]
handler500 = "serving.errors.server_error"
