from daphne.management.commands import runserver
from django.core.management.base import CommandParser

from serving.fitting import fitting_server


class Command(runserver.Command):
    """Django's own for developers, on our server; restarts when the code changes."""

    server_cls = fitting_server()

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        # whitenoise serves them, as `serve` does.
        parser.set_defaults(use_static_handler=False)
