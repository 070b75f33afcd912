import signal
import sys
import threading
from typing import Any

from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS

from batches.words import count
from batches.worker import work


def seconds(text: str) -> float:
    value = float(text)
    if not 0.05 <= value <= 3600:
        raise ValueError
    return value


class Command(BaseCommand):
    help = "The worker: sends, polls and collects message batches until it is stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--once", action="store_true", help="work until nothing is due, then end"
        )
        parser.add_argument(
            "--interval",
            type=seconds,
            default=1.0,
            metavar="SECONDS",
            help="how long to rest when nothing is due (0.05 to 3600, default 1)",
        )

    def handle(self, *, once: bool, interval: float, **options: Any) -> None:
        self.check(tags=[Tags.database], databases=[DEFAULT_DB_ALIAS])
        stop = threading.Event()

        def finish(number: int, frame: object) -> None:
            if stop.is_set():
                said = "Stopped at once. The step in hand is taken up again later."
                self.stderr.write(said, style_func=str)
                # Not an exception that a worker would take for a surprise of the step.
                sys.exit(1)
            stop.set()

        signal.signal(signal.SIGTERM, finish)
        signal.signal(signal.SIGINT, finish)
        self.stderr.write("worker ready", style_func=str)
        failures = work(stop, interval=interval, once=once)
        if once and failures:
            raise CommandError(f"{count(failures, 'step')} failed: the log says why.")
