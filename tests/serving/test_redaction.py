import logging
import logging.config
import sys
from io import StringIO

import pytest
from django.conf import settings

from serving.redaction import RedactKeys, redact

SECRET = "sk-ant-api03-AbC_123-xyz"


@pytest.fixture
def stream() -> StringIO:
    return StringIO()


@pytest.fixture
def logger(stream: StringIO) -> logging.Logger:
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactKeys())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    return logger


def test_a_key_in_a_message_is_masked(logger: logging.Logger, stream: StringIO) -> None:
    logger.warning("refused: %s at %d", f"Bearer {SECRET}", 3)
    assert stream.getvalue() == "refused: Bearer sk-ant-… at 3\n"


def test_a_key_in_an_object_or_a_mapping_is_masked(
    logger: logging.Logger, stream: StringIO
) -> None:
    logger.warning("headers %(headers)s", {"headers": {"x-api-key": SECRET}})
    assert stream.getvalue() == "headers {'x-api-key': 'sk-ant-…'}\n"


def test_a_key_in_a_traceback_or_a_stack_is_masked(
    logger: logging.Logger, stream: StringIO
) -> None:
    try:
        raise ValueError(f"bad key {SECRET}")
    except ValueError:
        logger.warning("failed", exc_info=sys.exc_info(), stack_info=True)
    assert "ValueError: bad key sk-ant-…" in stream.getvalue()
    assert SECRET not in stream.getvalue()


def test_a_record_that_does_not_format_is_still_logged(
    logger: logging.Logger, stream: StringIO
) -> None:
    logger.warning("%d rows", SECRET)
    assert stream.getvalue() == "%d rows ('sk-ant-…',)\n"


def test_the_settings_put_it_on_every_handler() -> None:
    assert settings.LOGGING["root"]["handlers"] == ["stderr"]
    for handler in settings.LOGGING["handlers"].values():
        assert handler["filters"] == ["redact_keys"]
    for name in ("django", "django.server"):
        assert logging.getLogger(name).propagate
        assert not logging.getLogger(name).handlers
    assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)


def test_words_that_are_no_key_stay() -> None:
    assert redact("a key (sk-ant-…) and sk-ant-") == "a key (sk-ant-…) and sk-ant-"
