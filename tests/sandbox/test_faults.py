"""Faults seen from outside: what they are, when they are due, and that the ledger knows them."""

import time
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.processes import Sandbox
from tests.sandbox.api import Api, error, path, request

LIST = "/v1/messages/batches"


def test_it_works(api: Api, sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "create", "status", code=529, when="after_effect")
    assert error(api.try_create(request())) == (529, "overloaded_error", "Overloaded")
    created = api.ledger()["creates"][0]["id"]
    (told,) = api.ledger()["faults"]
    assert (told["fault"], told["on"], told["path"]) == ("status", "create", LIST)
    assert (told["took_effect"], told["id"]) == (True, created)
    assert told["request_id"] == api.ledger()["creates"][0]["request_id"]
    assert api.create()["id"] != created


def test_settings_of_a_fault_are_shown_and_cleared(api: Api) -> None:
    fault = {"on": "list", "kind": "status", "code": 500, "times": 2}
    shown = api.post("/_sandbox/faults", json=fault).json()
    assert fault.items() <= shown.items()
    assert api.get(LIST).status_code == 500
    (shown,) = api.get("/_sandbox/faults").json()["faults"]
    assert (shown["seen"], shown["applied"]) == (1, 1)
    assert api.delete("/_sandbox/faults").json() == {"deleted": 1}
    assert api.get(LIST).status_code == 200


def test_faults_belong_to_the_scope(api: Api, sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "*", "status", code=500, times=None)
    with Api(sandbox.url, "sk-ant-neighbour-1").http as neighbour:
        assert neighbour.get(LIST).status_code == 200


def statuses(api: Api, count: int) -> list[int]:
    return [api.get(LIST).status_code for _ in range(count)]


def test_times_and_after(api: Api, sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "list", "status", code=500, after=1, times=2)
    assert statuses(api, 4) == [200, 500, 500, 200]


def test_a_plan_is_met_in_its_order(api: Api, sandbox: Sandbox, scope: str) -> None:
    for code in (500, 529, 429):
        sandbox.fault(scope, "list", "status", code=code)
    assert statuses(api, 4) == [500, 529, 429, 200]


def test_a_share_is_the_same_for_a_seed(api: Api, sandbox: Sandbox, scope: str) -> None:
    runs = []
    for seed in (1, 1, 2):
        sandbox.fault(scope, "list", "status", code=500, share=0.3, seed=seed, times=None)
        runs.append(statuses(api, 40))
        sandbox.clear_faults(scope)
    assert runs[0] == runs[1] != runs[2]
    assert 4 < Counter(runs[0])[500] < 20


def test_other_operations_pass(api: Api, sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "create", "status", code=500)
    assert statuses(api, 1) == [200]
    assert api.ledger()["faults"] == []


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"kind": "flood"}, "kind: 'flood' is not known; known are status, redirect, drop, "),
        ({}, "kind: None is not known; known are "),
        ({"kind": "status", "code": 200}, "status: Expected `int` >= 400 - at `$.code`"),
        ({"kind": "status"}, "status: Object missing required field `code`"),
        ({"kind": "drop", "on": "order"}, "on: 'order' is not known; known are create, list, "),
        ({"kind": "drop", "when": "then"}, "when: 'then' is not known; known are before_body, "),
        ({"kind": "drop", "code": 1}, "code: drop does not know it; it knows on, times, after, "),
        ({"kind": "lag", "on": "models", "seconds": 1}, "on: lag happens to cancel, list, "),
        ({"kind": "drop", "on": ["create"]}, "on: ['create'] is not known; known are create, "),
        ({"kind": "drop", "share": 2}, "drop: Expected `float` <= 1.0 - at `$.share`"),
        ({"kind": "drop", "times": 0}, "drop: Expected `int` >= 1 - at `$.times`"),
    ],
)
def test_bad_input_is_refused(api: Api, fault: dict[str, Any], sentence: str) -> None:
    status, _, told = error(api.post("/_sandbox/faults", json=fault))
    assert (status, told[: len(sentence)]) == (400, sentence)
    assert api.get("/_sandbox/faults").json() == {"faults": []}


def test_a_lost_answer_may_have_created(api: Api, sandbox: Sandbox, scope: str) -> None:
    effects = {"before_body": 0, "in_body": 0, "after_body": 0, "after_effect": 1}
    for when, created in effects.items():
        for end in ("fin", "reset"):
            before = len(api.ledger()["creates"])
            sandbox.fault(scope, "create", "drop", when=when, end=end)
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)):
                api.try_create(request())
            ledger = api.ledger()
            assert len(ledger["creates"]) - before == created
            assert ledger["faults"][-1]["took_effect"] is bool(created)


def test_an_effect_may_come_later(api: Api, sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "create", "late", seconds=0.3)
    with pytest.raises(httpx.RemoteProtocolError):
        api.try_create(request())
    assert api.get(LIST).json()["data"] == []
    deadline = time.monotonic() + 5
    while not api.get(LIST).json()["data"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert api.ledger()["faults"][0]["took_effect"] is True


def test_what_is_new_is_not_seen_yet(api: Api, sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "*", "lag", seconds=3600)
    api.set(batch_seconds=0)
    batch = api.create()
    assert api.get(LIST).json()["data"] == []
    assert error(api.get(path(batch)))[0] == 404
    api.set(clock_offset=3601)
    assert api.get(LIST).json()["data"][0]["id"] == batch["id"]


def test_foreign_batches_appear(api: Api, sandbox: Sandbox, scope: str) -> None:
    sandbox.fault(scope, "create", "foreign_batches", batches=2, requests=3)
    sandbox.fault(scope, "create", "drop", when="after_effect")
    with pytest.raises(httpx.RemoteProtocolError):
        api.try_create(request())
    ids = [batch["id"] for batch in api.get(LIST).json()["data"]]
    ledger = api.ledger()
    assert ids[2] == ledger["creates"][0]["id"]
    assert ledger["faults"][-1]["foreign"] == ids[1::-1]
    assert len(ledger["creates"]) == 1
    api.set(clock_offset=60)
    assert len(api.results({"id": ids[0]})) == 3


@pytest.mark.parametrize("when", ["before", "after"])
def test_foreign_batches_are_there_when_the_client_hears(
    api: Api, sandbox: Sandbox, scope: str, when: str
) -> None:
    sandbox.fault(scope, "create", "foreign_batches", when=when)
    sandbox.fault(scope, "create", "status", code=500, when="before_body")
    assert api.try_create(request()).status_code == 500
    drop, foreign = api.ledger()["faults"]
    assert "foreign" not in drop
    assert [batch["id"] for batch in api.get(LIST).json()["data"]] == foreign["foreign"]


def test_what_is_done_counts_before_the_end(api: Api, sandbox: Sandbox, scope: str) -> None:
    api.set(batch_seconds=10_000)
    batch = api.create(*[request(f"r{number}") for number in range(10)])
    sandbox.fault(scope, "*", "early_counts")
    found = []
    for offset in (0, 2500, 4500):
        api.set(clock_offset=offset)
        counts = api.retrieve(batch)["request_counts"]
        assert counts["processing"] + counts["succeeded"] == 10
        found.append(counts["succeeded"])
    assert found == sorted(set(found))
    assert found[0] == 0
    assert api.get(LIST).json()["data"][0]["request_counts"]["succeeded"] == found[-1]
