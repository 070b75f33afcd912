"""How an answer travels, seen by a client that counts and by one that does not."""

import contextlib
import gzip
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from urllib.parse import urlsplit

import httpx
import pytest

from tests.processes import Sandbox
from tests.sandbox.api import Api, body, path, request

BROKEN = (httpx.RemoteProtocolError, httpx.ReadError)


@pytest.fixture
def results(api: Api) -> str:
    """The address of the results of five rows."""
    return f"{path(api.finish(*[request(f'r{number}') for number in range(5)]))}/results"


@pytest.fixture
def whole(api: Api, results: str) -> bytes:
    return api.get(results).content


def raw(sandbox: Sandbox, scope: str, address: str) -> tuple[bytes, bytes]:
    """Head and body as they stand on the wire until it ends."""
    place = urlsplit(sandbox.url)
    with socket.create_connection((place.hostname, place.port), timeout=10) as peer:
        head = f"GET {address} HTTP/1.1\r\nHost: s\r\nx-api-key: {scope}\r\n"
        peer.sendall(f"{head}anthropic-version: 2026-10-21\r\n\r\n".encode())
        content = b"".join(iter(lambda: peer.recv(65536), b""))
    head_of_it, _, rest = content.partition(b"\r\n\r\n")
    return head_of_it, rest


def received(api: Api, address: str) -> bytes:
    """What comes until the answer breaks off."""
    return until_broken(api.http.stream("GET", address))


def until_broken(asked: AbstractContextManager[httpx.Response]) -> bytes:
    content = b""
    with asked as reply, contextlib.suppress(*BROKEN):
        for part in reply.iter_raw():
            content += part
        raise AssertionError("nothing broke")
    return content


@pytest.mark.parametrize("transfer", ["length", "chunked"])
@pytest.mark.parametrize("end", ["fin", "reset"])
def test_it_works(
    api: Api, sandbox: Sandbox, scope: str, results: str, whole: bytes, transfer: str, end: str
) -> None:
    sandbox.fault(scope, "results", "cut", records=2, transfer=transfer, end=end)
    content = received(api, results)
    assert whole.startswith(content)
    assert (content.count(b"\n"), content[-1:]) == (2, b"\n")
    assert api.get(results).content == whole


def test_a_cut_within_a_line_and_by_bytes(
    api: Api, sandbox: Sandbox, scope: str, results: str, whole: bytes
) -> None:
    first = whole.index(b"\n") + 1
    sandbox.fault(scope, "results", "cut", records=1, bytes=7)
    assert received(api, results) == whole[: first + 7]
    sandbox.fault(scope, "results", "cut", bytes=10)
    assert received(api, results) == whole[:10]
    sandbox.fault(scope, "results", "cut", bytes=-1)
    assert received(api, results) == whole[:-1]


def test_a_cut_after_the_headers(api: Api, sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "create", "cut")
    with pytest.raises(httpx.RemoteProtocolError):
        api.try_create(request())
    ledger = api.ledger()
    assert ledger["faults"][0]["id"] == ledger["creates"][0]["id"]


@pytest.mark.parametrize("transfer", ["length", "chunked", "close"])
def test_a_cut_that_only_counting_finds(
    api: Api, sandbox: Sandbox, scope: str, results: str, whole: bytes, transfer: str
) -> None:
    for gzipped in (False, True):
        sandbox.fault(
            scope, "results", "cut", records=3, transfer=transfer, end="whole", gzip=gzipped
        )
        content = api.get(results).content
        assert content.count(b"\n") == 3
        assert whole.startswith(content)


def test_an_answer_that_ends_with_its_connection(
    sandbox: Sandbox, scope: str, results: str, whole: bytes
) -> None:
    sandbox.fault(scope, "results", "transfer", transfer="close")
    head, content = raw(sandbox, scope, results)
    assert b"content-length" not in head.lower()
    assert b"transfer-encoding" not in head.lower()
    assert content == whole


@pytest.mark.parametrize("transfer", ["length", "chunked", "close", None])
@pytest.mark.parametrize("gzipped", [False, True])
def test_the_whole_in_any_transfer(
    api: Api, sandbox: Sandbox, scope: str, results: str, whole: bytes, transfer: str, gzipped: bool
) -> None:
    sandbox.fault(scope, "results", "transfer", transfer=transfer, gzip=gzipped)
    reply = api.get(results)
    assert reply.content == whole
    assert reply.headers.get("content-encoding") == ("gzip" if gzipped else None)
    assert reply.headers["anthropic-workspace-id"].startswith("wrkspc_")


def test_gzip_that_breaks_off(sandbox: Sandbox, scope: str, results: str, whole: bytes) -> None:
    sandbox.fault(scope, "results", "cut", bytes=-20, transfer="close", gzip=True)
    _, content = raw(sandbox, scope, results)
    with pytest.raises(EOFError):
        gzip.decompress(content)
    sandbox.fault(scope, "results", "cut", records=2, transfer="close", gzip=True)
    assert raw(sandbox, scope, results)[1][:2] == b"\x1f\x8b"


def test_a_length_that_is_wrong(
    api: Api, sandbox: Sandbox, scope: str, results: str, whole: bytes
) -> None:
    sandbox.fault(scope, "results", "wrong_length", by=10)
    assert received(api, results) == whole
    sandbox.fault(scope, "results", "wrong_length", by=-10)
    head, content = raw(sandbox, scope, results)
    assert f"Content-Length: {len(whole) - 10}".encode() in head
    assert content == whole


def test_a_slow_answer(api: Api, sandbox: Sandbox, scope: str, results: str, whole: bytes) -> None:
    sandbox.fault(scope, "results", "slow", rate=len(whole) * 3)
    started = time.monotonic()
    assert api.get(results).content == whole
    assert time.monotonic() - started > 0.25


@pytest.mark.parametrize("place", [{"records": 2}, {"bytes": 100}, {"bytes": 0}])
def test_an_answer_that_stops_and_goes_on(
    api: Api, sandbox: Sandbox, scope: str, results: str, whole: bytes, place: dict[str, int]
) -> None:
    sandbox.fault(scope, "results", "pause", seconds=0.3, **place)
    arrivals = list(timed(api, results))
    assert b"".join(part for _, part in arrivals) == whole
    early = sum(len(part) for at, part in arrivals if at < 0.25)
    lines = [len(line) for line in whole.splitlines(keepends=True)]
    assert early == place.get("bytes", sum(lines[:2]))


def timed(api: Api, address: str) -> Iterator[tuple[float, bytes]]:
    started = time.monotonic()
    with api.http.stream("GET", address) as reply:
        for part in reply.iter_raw():
            yield time.monotonic() - started, part


def test_a_refusal_is_no_answer_to_spoil(api: Api, sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "results", "cut", records=1)
    api.set(batch_seconds=60)
    assert api.get(f"{path(api.create())}/results").status_code == 404
    assert sandbox.faults(scope)[0]["seen"] == 0


def test_a_stream_that_breaks_off(api: Api, sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "messages", "cut", records=4)
    content = until_broken(api.http.stream("POST", "/v1/messages", json=body(stream=True)))
    assert content.count(b"\n\n") == 4
    assert b"message_stop" not in content


def test_many_megabytes_are_not_held_up(
    api: Api, sandbox: Sandbox, scope: str, results: str
) -> None:
    sandbox.fault(scope, "results", "long_lines", bytes=8_000_000)
    sandbox.fault(scope, "results", "cut", records=1, bytes=10)
    assert len(received(api, results)) > 8_000_000
