"""The settings of the tests, with pages and websockets that put a server to the test."""

from config.settings import *  # noqa: F403

ROOT_URLCONF = "tests.serving.streams"
ASGI_APPLICATION = "tests.serving.streams.application"
