import logging
import sys
from typing import Any

from daphne.endpoints import build_endpoint_description_strings
from daphne.management.commands.runserver import get_default_application
from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandParser
from django.db import DEFAULT_DB_ALIAS
from twisted.internet.endpoints import quoteStringArgument

from serving.fitting import fitting_server

HOST, PORT = "127.0.0.1", 8000
access = logging.getLogger("serving.access")


def port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise ValueError
    return value


class Command(BaseCommand):
    help = "Serves the pages until it is stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", help=f"the address to listen on (default {HOST})")
        parser.add_argument(
            "--port", type=port, help=f"0 takes a free one and says which (default {PORT})"
        )
        parser.add_argument(
            "--fd", type=int, metavar="N", help="an open socket that listens, as systemd hands over"
        )
        parser.add_argument("--unix-socket", action="append", metavar="PATH", default=[])
        parser.add_argument(
            "--access-log", action="store_true", help="log a line for each answered request"
        )

    def handle(self, **options: Any) -> None:
        self.check(tags=[Tags.database], databases=[DEFAULT_DB_ALIAS])
        server = fitting_server()(
            application=get_default_application(),
            endpoints=find_endpoints(**options),
            action_logger=log_access if options["access_log"] else None,
            server_name="",
        )
        server.run()
        if server.abort_start:
            sys.exit(1)


def find_endpoints(
    host: str | None, port: int | None, fd: int | None, unix_socket: list[str], **others: Any
) -> list[str]:
    """What was named; a TCP port, too, where it was named or nothing else was."""
    found = [f"unix:{quoteStringArgument(path)}" for path in unix_socket]
    found += build_endpoint_description_strings(file_descriptor=fd)
    if host or port is not None or not found:
        where = PORT if port is None else port
        found += build_endpoint_description_strings(host=host or HOST, port=where)
    return found


def log_access(protocol: str, action: str, details: dict[str, Any]) -> None:
    """Without what stands after the ?, which people type and others need not read."""
    if action == "complete":
        path = details["path"].partition("?")[0]
        milliseconds = details["time_taken"] * 1000
        access.info("%s %s %s %.0f ms", details["method"], path, details["status"], milliseconds)
