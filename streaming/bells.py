"""A bell between web processes: there is something new of a Turn. It carries nothing else.

It rings over Redis; without that, or when Redis is lost, one looks at short intervals.
"""

import asyncio
import contextlib
import logging
from types import TracebackType
from typing import Any, Self

from channels.layers import get_channel_layer
from django.conf import settings

logger = logging.getLogger(__name__)


def _group(turn_id: int) -> str:
    return f"turn-{turn_id}"


async def ring(turn_ids: set[int]) -> None:
    """Tell the other processes; one that does not hear it looks by itself."""
    if not settings.REDIS_URL:
        return
    layer = get_channel_layer()
    for turn_id in turn_ids:
        try:
            await layer.group_send(_group(turn_id), {"type": "turn.news"})
        except Exception as error:  # whatever the client of Redis raises
            logger.warning("the bell of Redis does not ring: %s", error)
            return


class Bell:
    """The bell of one Turn, as heard here. `rings` is False where only the clock does."""

    def __init__(self, turn_id: int) -> None:
        self.rings = False
        self._turn_id = turn_id
        self._layer: Any = None
        self._channel = ""

    async def __aenter__(self) -> Self:
        if settings.REDIS_URL:
            self._layer = get_channel_layer()
            try:
                self._channel = await self._layer.new_channel()
                await self._layer.group_add(_group(self._turn_id), self._channel)
                self.rings = True
            except Exception as error:
                logger.warning("no bell of Redis: %s", error)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.rings:
            with contextlib.suppress(Exception):
                await self._layer.group_discard(_group(self._turn_id), self._channel)

    async def wait(self, seconds: float) -> None:
        """Until it rings, at most so long."""
        if not self.rings:
            await asyncio.sleep(seconds)
            return
        try:
            await asyncio.wait_for(self._layer.receive(self._channel), seconds)
        except TimeoutError:
            pass
        except Exception as error:
            logger.warning("the bell of Redis is lost: %s", error)
            self.rings = False
