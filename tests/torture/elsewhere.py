"""A host that is not the API: whatever comes to it is written down, and should not have come."""

import os
import signal
import socket
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from tests.torture.worker import fork


class Elsewhere:
    """In a process of its own, because threads and forks do not go together."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "elsewhere"
        self._path.touch()
        path = self._path

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                with path.open("a") as file:
                    file.write(f"{self.command} {self.path}\n")
                self.rfile.read(int(self.headers.get("content-length") or 0))
                self.send_response(200)
                self.end_headers()

            do_GET = do_POST  # noqa: N815

            def log_message(self, *arguments: Any) -> None:
                """It writes down what it needs itself."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        parent = os.getpid()

        def serve() -> None:
            server.timeout = 1
            while os.getppid() == parent:
                with suppress(socket.timeout):
                    server.handle_request()

        self.pid = fork(serve, directory / "elsewhere.log")
        server.server_close()

    def got(self, world: str) -> list[str]:
        """What came from a world, which sends its name as the first part of the path."""
        lines = self._path.read_text().splitlines()
        return [line for line in lines if line.split()[1].startswith(f"/{world}/")]

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
