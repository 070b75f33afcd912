"""A gate before the sandbox, at which the sender of a create can be killed."""

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

CREATE = ("POST", "/v1/messages/batches")
HOP = {"connection", "transfer-encoding", "content-length", "server", "date"}


class Gate:
    """Passes every request on; `at_create(passed)` is called before and after each create.

    `passed` tells whether the create has reached the sandbox; the answer is still to be given.
    """

    def __init__(self, url: str, at_create: Callable[[bool], None]) -> None:
        gate, host = self, urlsplit(url).netloc

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                is_create = (self.command, self.path) == CREATE
                if is_create:
                    gate.at_create(False)
                answer, content = forward(host, self.command, self.path, body, self.headers)
                if is_create:
                    gate.at_create(True)
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP:
                        self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = handle_any  # noqa: N815

            def log_message(self, *arguments: Any) -> None:
                """Nothing: the sandbox's ledger says what came."""

        self.at_create = at_create
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # A killed client breaks its connection in the middle of an answer, as it is meant to.
        self._server.handle_error = lambda *arguments: None  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def forward(
    host: str, method: str, path: str, body: bytes, headers: Any
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        passed = {name: value for name, value in headers.items() if name.lower() != "host"}
        connection.request(method, path, body, passed)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()
