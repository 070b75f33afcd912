"""The prompt cache of one scope for live messages: what was sent in the last minutes."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sandbox.models import Model
from sandbox.usage import FIVE_MINUTES, ONE_HOUR, Caching, cache

LIFETIMES = {FIVE_MINUTES: timedelta(minutes=5), ONE_HOUR: timedelta(hours=1)}
MOST_PREFIXES = 10_000


class PromptCache:
    """Prefixes by key, with the time until which each is kept; a read keeps it longer."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.kept_until: dict[bytes, datetime] = {}

    def use(self, body: dict[str, Any], model: Model) -> Caching:
        now = self.now()
        used = cache(body, model, lambda key: self.kept_until.get(key, now) > now)
        if len(self.kept_until) > MOST_PREFIXES:
            self.kept_until = {key: end for key, end in self.kept_until.items() if end > now}
        for key, ttl in used.written.items():
            self.kept_until[key] = max(now + LIFETIMES[ttl], self.kept_until.get(key, now))
        return used
