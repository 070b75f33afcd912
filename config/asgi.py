"""The application that the server runs: pages and websockets."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# Loads the apps: what is imported below this line may import models.
django.setup(set_prefix=False)

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import re_path  # noqa: E402

from serving.handler import Handler  # noqa: E402
from serving.orphan import watch_parent  # noqa: E402
from serving.websockets import refuse  # noqa: E402
from streaming.routing import websocket_routes  # noqa: E402

unknown = re_path("", refuse)  # type: ignore[arg-type]

application = ProtocolTypeRouter(
    {
        "http": Handler(),
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(URLRouter([*websocket_routes, unknown]))
        ),
    }
)

watch_parent()
