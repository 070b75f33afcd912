import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.processes import Sandbox
from tests.sandbox.api import Api, body, error, path, request


def test_it_works(api: Api) -> None:
    batch = api.create(request("a"), request("b"))
    assert list(batch) == [
        *("id", "type", "processing_status", "request_counts", "ended_at", "created_at"),
        *("expires_at", "archived_at", "cancel_initiated_at", "results_url"),
    ]
    assert batch["id"].startswith("msgbatch_01")
    assert batch["processing_status"] == "in_progress"
    assert batch["request_counts"]["processing"] == 2
    assert batch["created_at"].endswith("+00:00")
    assert batch["results_url"] is None


def test_a_create_shows_progress_even_if_the_batch_ends_at_once(api: Api) -> None:
    api.set(batch_seconds=0)
    batch = api.create()
    assert batch["processing_status"] == "in_progress"
    assert api.retrieve(batch)["processing_status"] == "ended"


def test_any_layout_of_json_is_understood(api: Api) -> None:
    requests = [request(f"r{number}", 'brackets ]}{[ and "quotes" \\ 中') for number in range(3)]
    flipped = [dict(reversed(list(each.items()))) for each in requests]
    content = json.dumps({"requests": flipped}, indent=3).replace(":", " : ")
    reply = api.post("/v1/messages/batches", content=f"\n\t{content} \n")
    assert reply.status_code == 200, reply.text
    assert api.ledger()["creates"][0]["custom_ids"] == ["r0", "r1", "r2"]


REFUSALS = {
    "[]": "Input should be a valid dictionary",
    "{}": "requests: Field required",
    '{"requests": {}}': "requests: Input should be a valid list",
    '{"requests": []}': "requests: List should have at least 1 item after validation, not 0",
    '{"requests": [7]}': "requests.0: Input should be a valid dictionary",
    '{"requests": [[]]}': "requests.0: Input should be a valid dictionary",
    '{"requests": [{"params": {}}]}': "requests.0.custom_id: Field required",
    '{"requests": [{"custom_id": "a"}]}': "requests.0.params: Field required",
    '{"requests": [{"custom_id": "a", "params": 1}]}': (
        "requests.0.params: Input should be a valid dictionary"
    ),
    '{"requests": [{"custom_id": 7, "params": {}}]}': (
        "requests.0.custom_id: Input should be a valid string"
    ),
    '{"requests": [{"custom_id": "a b", "params": {}}]}': (
        "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"
    ),
    '{"requests": [{"custom_id": "a\\n", "params": {}}]}': (
        "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"
    ),
    '{"requests": [{"custom_id": "%s", "params": {}}]}' % ("a" * 65): (
        "requests.0.custom_id: String should have at most 64 characters"
    ),
    '{"requests": [{"custom_id": "a", "params": {}, "x": 1}]}': (
        "requests.0.x: Extra inputs are not permitted"
    ),
    '{"requests": [{"custom_id": "a", "params": {}}], "name": "x"}': (
        "name: Extra inputs are not permitted"
    ),
    json.dumps({"requests": [request("dup"), request("a"), request("dup")]}): (
        "requests: custom_id's must be unique within a batch. Duplicate custom_id found: dup"
    ),
}


@pytest.mark.parametrize("content", REFUSALS)
def test_bad_input_is_refused(api: Api, content: str) -> None:
    reply = api.post("/v1/messages/batches", content=content)
    assert error(reply) == (400, "invalid_request_error", REFUSALS[content])
    assert api.get("/v1/messages/batches").json()["data"] == []
    ledger = api.ledger()
    assert ledger["creates"] == []
    assert ledger["refused"][0]["request_id"] == reply.headers["request-id"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        '{"requests": [{"custom_id": "a", "params": {}}]} x',
        '{"requests": [{"custom_id": "a", "params": {}},]}',
        '{"requests": [{"custom_id": "a" "params": {}}]}',
        '{"requests": [{"custom_id": "a b", "params": {}}, {"custom_id": ]}',
        '{"requests": [{"custom_id": "a", "params": {"x": "\\ud800"}}]}',
        b'{"requests": [{"custom_id": "a", "params": {"x": "\xff"}}]}',
        '{"requests": [{"custom_id": "a", "params": ' + "[" * 5000 + "]" * 5000 + "}]}",
    ],
)
def test_what_is_not_json_is_refused_for_that(api: Api, content: str | bytes) -> None:
    status, kind, message = error(api.post("/v1/messages/batches", content=content))
    assert (status, kind) == (400, "invalid_request_error")
    assert message.startswith("The request body is not valid JSON: ")


def test_100_001_requests_are_too_many(api: Api) -> None:
    requests = [{"custom_id": f"r{number}", "params": {}} for number in range(100_001)]
    status, _, message = error(api.try_create(*requests))
    assert status == 400
    assert message.endswith("at most 100000 items after validation, not 100001")


def test_params_are_judged_later(api: Api) -> None:
    batch = api.create({"custom_id": "a", "params": {}})
    assert batch["request_counts"]["processing"] == 1


def test_a_body_above_256_mib_is_refused(api: Api) -> None:
    """Declared too long: no byte of the body is waited for."""
    host, port = api.http.base_url.host, api.http.base_url.port
    with socket.create_connection((host, port), timeout=10) as connection:
        head = f"POST /v1/messages/batches HTTP/1.1\r\nHost: {host}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in api.http.headers.items())
        connection.sendall(f"{head}Content-Length: {(256 << 20) + 1}\r\n\r\n".encode())
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'{"error":{"type":"request_too_large"' in answer
    assert api.ledger()["refused"][0]["status"] == 413


def test_a_chunked_body_above_256_mib_is_refused(api: Api) -> None:
    def blocks() -> Iterator[bytes]:
        for _ in range(257):
            yield bytes(1 << 20)

    reply = api.post("/v1/messages/batches", content=blocks())
    assert error(reply)[:2] == (413, "request_too_large")


def test_concurrent_creates_are_all_in_the_ledger(api: Api) -> None:
    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(lambda number: api.create(request(f"r{number}")), range(24)))
    written = {entry["id"]: entry["custom_ids"] for entry in api.ledger()["creates"]}
    assert written == {batch["id"]: [f"r{number}"] for number, batch in enumerate(batches)}


def test_a_create_that_breaks_off_leaves_nothing(api: Api, sandbox: Sandbox) -> None:
    host, port = api.http.base_url.host, api.http.base_url.port
    content = json.dumps({"requests": [{"custom_id": "a", "params": body()}]})
    with socket.create_connection((host, port), timeout=10) as connection:
        head = f"POST {path({'id': ''})[:-1]} HTTP/1.1\r\nHost: {host}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in api.http.headers.items())
        connection.sendall(f"{head}Content-Length: 9999\r\n\r\n{content}".encode())
    assert api.get("/v1/messages/batches").json()["data"] == []
    assert api.ledger()["creates"] == []
