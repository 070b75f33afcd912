from collections.abc import Callable
from typing import Any


async def refuse(scope: dict[str, Any], receive: Callable, send: Callable) -> None:
    """Close a websocket that no route knows, instead of a traceback per stray visitor."""
    await receive()
    await send({"type": "websocket.close", "code": 4404})
