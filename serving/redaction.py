"""API keys never reach a log, whoever logs and however the key got into the message."""

import logging
import re

KEY = re.compile(r"sk-ant-[A-Za-z0-9_\-]+")
MASK = "sk-ant-…"


def redact(text: str) -> str:
    return KEY.sub(MASK, text)


def message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        # Logging would complain on stderr, with the arguments in clear.
        return f"{record.msg} {record.args!r}"


class RedactKeys(logging.Filter):
    """Masks keys in the message, its arguments, the traceback and the stack of a record.

    It sits on the handlers: a filter on a logger does not see what its children log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(message_of(record)), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True
