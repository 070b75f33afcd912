"""What stands in a good answer that the API should not have written, or not yet."""

import json
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.processes import Sandbox
from tests.sandbox.api import Api, body, events, path, request

LIST = "/v1/messages/batches"
ROWS = ["r0", "r1", "r2", "r3", "r4"]


@pytest.fixture
def results(api: Api) -> str:
    return f"{path(api.finish(*[request(custom_id) for custom_id in ROWS]))}/results"


def lines(api: Api, results: str) -> list[bytes]:
    return api.get(results).content.splitlines()


def ids(api: Api, results: str) -> list[str]:
    return [json.loads(line)["custom_id"] for line in lines(api, results)]


def test_it_works(api: Api, sandbox: Sandbox, scope: str, results: str) -> None:
    right = ids(api, results)
    sandbox.fault(scope, "results", "missing_lines", lines=2)
    assert ids(api, results) == right[2:]
    assert ids(api, results) == right
    assert api.ledger()["faults"][0]["fault"] == "missing_lines"


def test_lines_that_come_twice(api: Api, sandbox: Sandbox, scope: str, results: str) -> None:
    sandbox.fault(scope, "results", "doubled_lines", lines=2)
    found = lines(api, results)
    assert found[5:] == found[:2]
    sandbox.fault(scope, "results", "doubled_lines", different=True)
    *found, last = lines(api, results)
    assert json.loads(last)["custom_id"] == json.loads(found[0])["custom_id"]
    assert json.loads(last)["result"] == {"type": "expired"}


def test_lines_that_nobody_asked_for(api: Api, sandbox: Sandbox, scope: str, results: str) -> None:
    sandbox.fault(scope, "results", "foreign_lines", lines=2)
    assert sorted(ids(api, results)) == ["foreign-0", "foreign-1", *ROWS]


def test_lines_in_another_order(api: Api, sandbox: Sandbox, scope: str, results: str) -> None:
    orders = [ids(api, results)]
    for seed in (1, 1, 2):
        sandbox.fault(scope, "results", "shuffled_lines", seed=seed)
        orders.append(ids(api, results))
    assert orders[1] == orders[2]
    assert Counter(map(tuple, orders)) != Counter({tuple(orders[0]): 4})
    assert all(sorted(order) == ROWS for order in orders)


def test_the_last_line_without_its_end(
    api: Api, sandbox: Sandbox, scope: str, results: str
) -> None:
    right = api.get(results).content
    sandbox.fault(scope, "results", "unended_lines")
    assert api.get(results).content == right[:-1]


def test_a_line_of_megabytes(api: Api, sandbox: Sandbox, scope: str, results: str) -> None:
    sandbox.fault(scope, "results", "long_lines", bytes=2_000_000)
    first, *others = lines(api, results)
    assert 2_000_000 <= len(first) < 2_002_000
    assert json.loads(first)["custom_id"] in ROWS
    assert max(map(len, others)) < 5_000


@pytest.mark.parametrize(
    ("what", "part"),
    [
        ("nul", rb"\u0000"),
        ("lone_surrogate", rb"\ud800"),
        ("invalid_utf8", b"\xff\xfe"),
        ("control_character", b"\x01"),
        ("long_number", b"9" * 5000),
        ("nested", b"[" * 20_000),
    ],
)
def test_odd_lines(
    api: Api, sandbox: Sandbox, scope: str, results: str, what: str, part: bytes
) -> None:
    sandbox.fault(scope, "results", "odd_lines", what=what, lines=2)
    found = api.get(results).content.split(b"\n")
    assert [part in line for line in found[:3]] == [True, True, False]
    assert len(found) == 6


def test_lines_that_are_no_json(api: Api, sandbox: Sandbox, scope: str, results: str) -> None:
    sandbox.fault(scope, "results", "odd_lines", what="not_json")
    with pytest.raises(json.JSONDecodeError):
        ids(api, results)
    sandbox.fault(scope, "results", "odd_lines", what="blank")
    assert lines(api, results)[0] == b""


def test_values_that_are_not_known_yet(api: Api, sandbox: Sandbox, scope: str) -> None:
    batch = api.create()
    fields: dict[str, Any] = {"processing_status": "paused", "request_counts": {"queued": 7}}
    sandbox.fault(scope, "*", "change", fields=fields, times=2)
    for shown in (api.retrieve(batch), api.get(LIST).json()["data"][0]):
        assert shown["processing_status"] == "paused"
        assert shown["request_counts"]["queued"] == 7
        assert shown["request_counts"]["processing"] == 1
    assert api.retrieve(batch)["processing_status"] != "paused"


def test_a_result_of_a_new_type(api: Api, sandbox: Sandbox, scope: str, results: str) -> None:
    sandbox.fault(scope, "results", "change", fields={"result": {"type": "deferred"}}, records=2)
    types = [json.loads(line)["result"]["type"] for line in lines(api, results)]
    assert types == ["deferred", "deferred", "succeeded", "succeeded", "succeeded"]


@pytest.mark.parametrize(
    ("fields", "content_type", "content"),
    [
        ({"form": "invalid_json"}, "application/json", b'{"id": "msgbatch_01cut'),
        ({"form": "other_json"}, "application/json", b'["pong"]'),
        ({"form": "html"}, "text/html", b"<html>"),
        ({"form": "empty"}, "application/json", b""),
        ({"content_type": "text/plain"}, "text/plain", b'{"data"'),
    ],
)
def test_a_body_that_was_not_promised(
    api: Api,
    sandbox: Sandbox,
    scope: str,
    fields: dict[str, str],
    content_type: str,
    content: bytes,
) -> None:
    sandbox.fault(scope, "list", "body", **fields)
    reply = api.get(LIST)
    assert (reply.status_code, reply.headers["content-type"]) == (200, content_type)
    assert reply.content.startswith(content)


def test_no_results_at_all(api: Api, sandbox: Sandbox, scope: str, results: str) -> None:
    sandbox.fault(scope, "results", "body", form="empty")
    reply = api.get(results)
    assert (reply.content, reply.headers["content-type"]) == (b"", "application/x-jsonl")


def test_a_small_body_that_unpacks_to_a_large_one(api: Api, sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "list", "gzip_bomb", bytes=50 << 20)
    with api.http.stream("GET", LIST) as reply:
        assert sum(map(len, reply.iter_raw())) < 100_000
    sandbox.fault(scope, "list", "gzip_bomb", bytes=5 << 20)
    assert len(api.get(LIST).content) == 5 << 20


def streamed(api: Api) -> httpx.Response:
    return api.post("/v1/messages", json=body("Was ist ein Fluß in Übersee?", stream=True))


def types(reply: httpx.Response) -> list[str]:
    return [event["type"] for event in events(reply.content)]


def test_an_error_in_the_middle(api: Api, sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "messages", "error_event", records=4)
    *_, last = events(streamed(api).content)
    assert last["error"]["type"] == "overloaded_error"
    sandbox.fault(scope, "messages", "error_event", records=4)
    assert len(types(streamed(api))) == 5


@pytest.mark.parametrize("what", ["event", "delta", "block"])
def test_events_of_a_new_type(api: Api, sandbox: Sandbox, scope: str, what: str) -> None:
    sandbox.fault(scope, "messages", "odd_event", what=what)
    found = list(events(streamed(api).content))
    odd = [event for event in found if f"future_{what}" in json.dumps(event)]
    assert len(odd) == 1
    assert found[-1]["type"] == "message_stop"
    if what != "event":
        started = [event["index"] for event in found if event["type"] == "content_block_start"]
        assert odd[0]["index"] == started[-1]


def test_nothing_but_pings(api: Api, sandbox: Sandbox, scope: str) -> None:
    usual = Counter(types(streamed(api)))
    sandbox.fault(scope, "messages", "pings", seconds=0.2, every=0.02)
    found = types(streamed(api))
    assert found[1:4] == ["ping", "ping", "ping"]
    assert Counter(found)["ping"] > usual["ping"] + 3
    assert found[-1] == "message_stop"


def test_a_stop_reason_of_a_new_name(api: Api, sandbox: Sandbox, scope: str) -> None:
    fields = {"delta": {"stop_reason": "tired"}}
    sandbox.fault(scope, "messages", "change", event="message_delta", fields=fields)
    (delta,) = [e for e in events(streamed(api).content) if e["type"] == "message_delta"]
    assert delta["delta"]["stop_reason"] == "tired"


def test_spaces_around_the_json(api: Api, sandbox: Sandbox, scope: str) -> None:
    usual = types(streamed(api))
    sandbox.fault(scope, "messages", "padding", spaces=9)
    reply = streamed(api)
    assert b"data: " + b" " * 9 + b"{" in reply.content
    assert types(reply) == usual


def test_characters_in_pieces(api: Api, sandbox: Sandbox, scope: str) -> None:
    usual = text(streamed(api))
    sandbox.fault(scope, "messages", "split")
    reply = streamed(api)
    assert text(reply) == usual
    assert not usual.isascii()


def text(reply: httpx.Response) -> str:
    return "".join(event.get("delta", {}).get("text", "") for event in events(reply.content))


def test_a_fault_of_streams_waits_for_one(api: Api, sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "messages", "error_event")
    assert api.ask()["type"] == "message"
    assert sandbox.faults(scope)[0]["seen"] == 0
    assert "error" in types(streamed(api))
