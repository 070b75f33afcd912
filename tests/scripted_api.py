"""An API that answers as it is told, also in ways that no API should: for tests of faults."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from django.db import connections

BATCHES = "/v1/messages/batches"


@dataclass(frozen=True)
class Request:
    """One request that arrived whole."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """`content` is sent as it is where it is bytes, as JSON otherwise."""

    content: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None  # declared in the place of the true one
    cut: int | None = None  # so many bytes are sent before the connection is closed
    bounded: bool = True  # without a declared length the end of the connection is the end
    hang_up: bool = False  # from here on connections are refused
    pause: float = 0.0  # seconds before the answer


@dataclass(frozen=True)
class Drop:
    """The connection ends without an answer, after the body or before it."""

    before_body: bool = False


Action = Reply | Drop
Answer = Action | Callable[[Request], Action]


class ScriptedApi:
    """Listens on a free port of this machine; what is not planned is a 404 and noted."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.unplanned: list[str] = []
        self.connections = 0
        self._plans: dict[tuple[str, str], list[Answer]] = {}
        self._lock = threading.Lock()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.hang_up()
        self._thread.join()
        self._server.server_close()

    def plan(self, method: str, path: str, *answers: Answer) -> None:
        """Give these answers one after the other; the last one stays."""
        with self._lock:
            self._plans[method, path] = list(answers)

    def paths(self, method: str) -> list[str]:
        return [request.path for request in self.requests if request.method == method]

    def hang_up(self) -> None:
        """Refuse all connections from here on."""
        self._server.shutdown()
        self._server.socket.close()

    def next_answer(self, method: str, path: str) -> Answer:
        with self._lock:
            answers = self._plans.get((method, path))
            if not answers:
                self.unplanned.append(f"{method} {path}")
                return refusal(404, "not_found_error", "not planned")
            return answers.pop(0) if len(answers) > 1 else answers[0]


class _Server(ThreadingHTTPServer):
    def __init__(self, api: ScriptedApi) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api = api

    def get_request(self) -> Any:
        accepted = super().get_request()
        self.api.connections += 1
        return accepted

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what many of the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    server: _Server

    def answer(self) -> None:
        path, _, query = self.path.partition("?")
        planned = self.server.api.next_answer(self.command, path)
        if isinstance(planned, Drop) and planned.before_body:
            self.close_connection = True
            return
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, path, query, headers, body)
        self.server.api.requests.append(request)
        self.carry_out(self.decide(planned, request))

    do_GET = do_POST = do_DELETE = answer  # noqa: N815

    def decide(self, planned: Answer, request: Request) -> Action:
        """A plan may be a function; it may ask the database, in the thread of its request."""
        if not callable(planned):
            return planned
        try:
            return planned(request)
        finally:
            connections.close_all()

    def carry_out(self, action: Action) -> None:
        if isinstance(action, Drop):
            self.close_connection = True
            return
        if action.hang_up:
            self.server.api.hang_up()
        time.sleep(action.pause)
        content = action.content
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        self.send_response(action.status)
        for name, value in action.headers.items():
            self.send_header(name, value)
        if action.bounded:
            length = len(content) if action.length is None else action.length
            self.send_header("content-length", str(length))
        if not action.bounded or action.cut is not None or action.length is not None:
            self.send_header("connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(content[: action.cut])

    def log_message(self, *args: object) -> None:
        """The ledger is `ScriptedApi.requests`."""


def refusal(status: int, type: str, message: str, code: str = "", **headers: str) -> Reply:
    """An error in the shape of the API's own."""
    error: dict[str, Any] = {"type": type, "message": message}
    if code:
        error["details"] = {"error_code": code}
    content = {"type": "error", "error": error, "request_id": "req_1"}
    return Reply(content, status, {n.replace("_", "-"): v for n, v in headers.items()})


def page(*batches: dict[str, Any], has_more: bool = False) -> Reply:
    """A page of a listing, newest first."""
    return Reply(
        {
            "data": list(batches),
            "has_more": has_more,
            "first_id": batches[0]["id"] if batches else None,
            "last_id": batches[-1]["id"] if batches else None,
        }
    )
