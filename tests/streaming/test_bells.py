import asyncio
import time

import pytest

from streaming.bells import Bell, ring


@pytest.fixture
def with_redis(settings, redis_url):
    settings.REDIS_URL = redis_url
    hosts = {"hosts": [redis_url]}
    backend = "channels_redis.pubsub.RedisPubSubChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": hosts}}


@pytest.fixture
def with_lost_redis(settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    hosts = {"hosts": [settings.REDIS_URL]}
    backend = "channels_redis.pubsub.RedisPubSubChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": hosts}}


async def heard_after(bell: Bell, seconds: float) -> float:
    began = time.monotonic()
    await bell.wait(seconds)
    return time.monotonic() - began


async def test_it_is_heard_at_once(with_redis):
    async with Bell(7) as bell:
        assert bell.rings
        hearing = asyncio.ensure_future(heard_after(bell, 20))
        await asyncio.sleep(0.1)
        await ring({3, 7})
        assert await hearing < 10


async def test_the_bell_of_another_turn_is_not_heard(with_redis):
    async with Bell(7) as bell:
        hearing = asyncio.ensure_future(heard_after(bell, 0.5))
        await ring({8})
        assert await hearing >= 0.4


async def test_without_redis_there_is_only_the_clock():
    await ring({7})
    async with Bell(7) as bell:
        assert not bell.rings
        assert await heard_after(bell, 0.05) >= 0.04


async def test_losing_redis_costs_the_bell_and_nothing_else(with_lost_redis):
    await ring({7})
    async with Bell(7) as bell:
        assert await heard_after(bell, 0.05) < 10
        assert not bell.rings
