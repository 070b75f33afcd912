"""The application that the server runs: pages and websockets."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# Loads the apps: what is imported below this line may import models.
pages = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import URLPattern, re_path  # noqa: E402

from serving.orphan import watch_parent  # noqa: E402
from serving.websockets import refuse  # noqa: E402

websocket_routes: list[URLPattern] = []
unknown = re_path("", refuse)  # type: ignore[arg-type]

application = ProtocolTypeRouter(
    {
        "http": pages,
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(URLRouter([*websocket_routes, unknown]))
        ),
    }
)

watch_parent()
