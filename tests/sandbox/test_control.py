import httpx
import pytest

from tests.processes import Sandbox
from tests.sandbox.api import Api, error, request


def test_it_works(api: Api) -> None:
    settings = api.set(batch_seconds=7, failure_rate=0.5)
    assert settings == {
        "batch_seconds": 7.0,
        "token_rate": 0.0,
        "failure_rate": 0.5,
        "clock_offset": 0.0,
    }
    assert api.set(clock_offset=-60) == {**settings, "clock_offset": -60.0}
    assert api.get("/_sandbox/settings").json()["clock_offset"] == -60.0


def test_settings_belong_to_the_scope(api: Api, sandbox: Sandbox) -> None:
    api.set(batch_seconds=99)
    with Api(sandbox.url, "sk-ant-neighbour-1").http as neighbour:
        assert neighbour.get("/_sandbox/settings").json()["batch_seconds"] == 0.5


@pytest.mark.parametrize(
    "changes",
    [{"batch_seconds": -1}, {"failure_rate": 1.1}, {"token_rate": "fast"}, {"speed": 1}, []],
)
def test_bad_input_is_refused(api: Api, changes: object) -> None:
    assert error(api.post("/_sandbox/settings", json=changes))[0] == 400
    assert api.get("/_sandbox/settings").json()["batch_seconds"] == 0.5


def test_strangers_are_refused(sandbox: Sandbox) -> None:
    assert httpx.get(f"{sandbox.url}/_sandbox/ledger", trust_env=False).status_code == 401


def test_the_ledger(api: Api) -> None:
    batch = api.create(request("a"), request("b"))
    entry = api.ledger()["creates"][0]
    assert (entry["id"], entry["size"]) == (batch["id"], 2)
    assert entry["custom_ids"] == ["a", "b"]
    assert entry["request_id"].startswith("req_")
    assert "custom_ids" not in api.ledger(custom_ids=0)["creates"][0]


def test_health_needs_no_key(sandbox: Sandbox) -> None:
    assert httpx.get(f"{sandbox.url}/_sandbox/health", trust_env=False).json() == {"status": "ok"}
