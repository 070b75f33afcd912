from django.urls import path

from streaming.consumers import Live

websocket_routes = [
    path(
        "w/<slug:slug>/conversations/<int:conversation>/turns/<int:turn>/live/",
        Live.as_asgi(),
        name="live",
    )
]
