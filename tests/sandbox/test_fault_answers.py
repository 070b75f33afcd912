"""What a client is told instead of an answer."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from claude_api import (
    BillingRefused,
    Client,
    Conflict,
    InvalidRequest,
    KeyRefused,
    NotFound,
    OutcomeUnknown,
    PermissionRefused,
    RateLimited,
    Redirected,
    ServerError,
    SpendLimitReached,
    TooLarge,
)
from tests.processes import Sandbox
from tests.sandbox.api import Api, body, error, path, request

LIST = "/v1/messages/batches"


@pytest.fixture
def client(sandbox: Sandbox, scope: str) -> Iterator[Client]:
    with Client(sandbox.url, scope, read_timeout=5) as client:
        yield client


@pytest.mark.parametrize(
    ("fields", "raised"),
    [
        ({"code": 400}, InvalidRequest),
        ({"code": 401}, KeyRefused),
        ({"code": 402}, BillingRefused),
        ({"code": 403}, PermissionRefused),
        ({"code": 404}, NotFound),
        ({"code": 409}, Conflict),
        ({"code": 413}, TooLarge),
        ({"code": 413, "shape": "edge"}, TooLarge),
        ({"code": 429, "retry_after": 37}, RateLimited),
        ({"code": 429, "error_code": "enforced_spend_limit_reached"}, SpendLimitReached),
        ({"code": 400, "message": "You have reached your specified API usage limits."},
         SpendLimitReached),
        ({"code": 500}, ServerError),
        ({"code": 502, "shape": "html"}, ServerError),
        ({"code": 504}, ServerError),
        ({"code": 529}, ServerError),
    ],
)  # fmt: skip
def test_it_works(
    client: Client, sandbox: Sandbox, scope: str, fields: dict[str, Any], raised: type
) -> None:
    sandbox.fault(scope, "list", "status", **fields)
    with pytest.raises(raised):
        client.list_batches()
    assert client.last.retry_after == fields.get("retry_after")
    assert client.list_batches().data == []


@pytest.mark.parametrize("code", [400, 401, 402, 403, 404, 408, 409, 413, 429, 500, 504, 529])
def test_errors_have_the_shape_of_the_api(
    api: Api, sandbox: Sandbox, scope: str, code: int
) -> None:
    sandbox.fault(scope, "list", "status", code=code)
    reply = api.get(LIST)
    assert reply.status_code == code
    assert reply.json()["request_id"] == reply.headers["request-id"]
    assert (reply.headers.get("x-should-retry") == "false") is (
        code in (400, 401, 402, 403, 404, 413)
    )


def test_a_request_id_may_be_null(api: Api, sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "list", "status", code=500, request_id=False)
    assert api.get(LIST).json()["request_id"] is None


@pytest.mark.parametrize("shape", ["html", "text", "json", "empty"])
def test_what_stands_before_the_api_answers_otherwise(
    api: Api, sandbox: Sandbox, scope: str, shape: str
) -> None:
    sandbox.fault(scope, "create", "status", code=403, shape=shape)
    reply = api.try_create(request())
    assert reply.status_code == 403
    assert b'"type"' not in reply.content
    assert reply.headers["content-type"].startswith(
        "application/json" if shape == "json" else "text/"
    )


def test_a_redirect_names_another_host(client: Client, sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "list", "redirect", location="http://127.0.0.2:9/")
    with pytest.raises(Redirected, match=r"127\.0\.0\.2"):
        client.list_batches()


def test_a_stream_may_be_refused_before_its_first_event(
    api: Api, sandbox: Sandbox, scope: str
) -> None:
    sandbox.fault(scope, "messages", "status", code=529)
    assert error(api.post("/v1/messages", json=body(stream=True)))[0] == 529


@contextmanager
def sent(sandbox: Sandbox, scope: str, content: bytes, length: int) -> Iterator[socket.socket]:
    """A create of which so much of the declared length has been written."""
    address = urlsplit(sandbox.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as peer:
        head = (
            f"POST {LIST} HTTP/1.1\r\nHost: sandbox\r\nx-api-key: {scope}\r\n"
            f"anthropic-version: 2026-10-21\r\nContent-Length: {length}\r\n\r\n"
        )
        peer.sendall(head.encode() + content)
        yield peer


def test_a_connection_ends_without_the_body(sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "create", "drop", when="before_body")
    with sent(sandbox, scope, b"", 1000) as peer:
        assert peer.recv(100) == b""


def test_a_connection_ends_within_the_body(sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "create", "drop", when="in_body", bytes=4)
    with sent(sandbox, scope, b'{"requests', 1000) as peer:
        assert peer.recv(100) == b""
    assert sandbox.ledger(scope)["faults"][0]["took_effect"] is False


def test_a_reset_is_no_clean_end(sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "create", "drop", end="reset", when="before_body")
    with sent(sandbox, scope, b"", 1000) as peer, pytest.raises(ConnectionResetError):
        peer.recv(100)


def test_an_answer_without_reading_the_body(sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "create", "status", code=413, when="before_body")
    with sent(sandbox, scope, b"{", 1000) as peer:
        assert peer.recv(12) == b"HTTP/1.1 413"


def test_silence_ends_without_an_answer(client: Client, sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "list", "silence", seconds=0.2)
    started = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        client.list_batches()
    assert time.monotonic() - started > 0.2


@pytest.mark.parametrize("when", ["before_effect", "after_effect"])
def test_a_delayed_answer_is_the_right_one(
    api: Api, sandbox: Sandbox, scope: str, when: str
) -> None:
    sandbox.fault(scope, "create", "delay", seconds=0.2, when=when)
    started = time.monotonic()
    batch = api.create()
    assert time.monotonic() - started > 0.2
    assert api.retrieve(batch)["id"] == batch["id"]


def test_the_effect_comes_when_the_client_no_longer_waits(
    api: Api, sandbox: Sandbox, scope: str
) -> None:
    sandbox.fault(scope, "create", "late", seconds=0.6, silent=True)
    with pytest.raises(httpx.ReadTimeout):
        api.post(LIST, json={"requests": [request("a")]}, timeout=0.1)
    assert api.ledger()["creates"] == []
    wait_for(lambda: [create["custom_ids"] for create in api.ledger()["creates"]] == [["a"]])
    assert api.ledger()["faults"][0]["took_effect"] is True


def test_a_late_cancel_and_a_late_delete(api: Api, sandbox: Sandbox, scope: str) -> None:
    api.set(batch_seconds=3600)
    batch = api.create()
    sandbox.fault(scope, "cancel", "late", seconds=0.1)
    with pytest.raises(httpx.RemoteProtocolError):
        api.post(f"{path(batch)}/cancel")
    assert api.retrieve(batch)["cancel_initiated_at"] is None
    wait_for(lambda: api.retrieve(batch)["cancel_initiated_at"] is not None)
    api.set(clock_offset=3600)
    sandbox.fault(scope, "delete", "late", seconds=0.1)
    with pytest.raises(httpx.RemoteProtocolError):
        api.delete(path(batch))
    wait_for(lambda: api.get(path(batch)).status_code == 404)


def wait_for(is_true: Any) -> None:
    deadline = time.monotonic() + 5
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_results_are_not_there_yet(api: Api, sandbox: Sandbox, scope: str) -> None:
    batch = api.finish()
    sandbox.fault(scope, "results", "lag", seconds=60)
    assert error(api.get(f"{path(batch)}/results"))[0] == 404
    api.set(clock_offset=61)
    assert list(api.results(batch)) == ["row-1"]


def test_the_clock_of_the_server_stands_in_its_answers(client: Client, api: Api) -> None:
    client.list_batches()
    assert client.last.date is not None
    before = client.last.date
    api.set(clock_offset=3600)
    client.list_batches()
    assert client.last.date is not None
    assert 3590 < (client.last.date - before).total_seconds() < 3620
