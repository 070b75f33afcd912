"""What somebody may not do is one line of the log; what failed keeps its traceback."""

import logging


class WithoutTraceback(logging.Filter):
    """Takes the traceback from a record that is no error: Django adds one to each refusal."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.ERROR:
            record.exc_info = record.exc_text = None
        return True
