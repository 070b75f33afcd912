"""A long file as a response: made piece by piece, never held whole."""

import logging
import threading
from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.db import close_old_connections

logger = logging.getLogger(__name__)


async def stream(
    chunks: Iterator[bytes], name: str, left: threading.Event | None = None
) -> AsyncIterator[bytes]:
    """The chunks as they are asked for, each made in the thread of the request.

    What breaks on the way is raised: the connection then ends without the end of a body, and no
    browser takes what came for the whole file. `left` is set once nobody waits for more.
    """
    try:
        while (chunk := await sync_to_async(read_chunk)(chunks)) is not None:
            yield chunk
    except Exception:
        logger.exception("%s broke off", name)
        raise
    finally:
        if left is not None:
            left.set()
        await sync_to_async(close_old_connections)()


def read_chunk(chunks: Iterator[bytes]) -> bytes | None:
    return next(chunks, None)
