from typing import Any

import pytest

from tests.processes import Sandbox
from tests.sandbox.api import Api, error


def page(api: Api, **query: Any) -> dict[str, Any]:
    return api.get("/v1/messages/batches", params=query).raise_for_status().json()


@pytest.fixture
def ids(api: Api) -> list[str]:
    """Of seven batches, newest first."""
    return [api.create()["id"] for _ in range(7)][::-1]


def shown(listed: dict[str, Any]) -> list[str]:
    return [batch["id"] for batch in listed["data"]]


def test_it_works(api: Api, ids: list[str]) -> None:
    listed = page(api)
    assert shown(listed) == ids
    assert (listed["has_more"], listed["first_id"], listed["last_id"]) == (False, ids[0], ids[-1])


def test_nothing_yet(api: Api) -> None:
    assert page(api) == {"data": [], "has_more": False, "first_id": None, "last_id": None}


def test_the_default_is_20(api: Api) -> None:
    for _ in range(21):
        api.create()
    listed = page(api)
    assert (len(listed["data"]), listed["has_more"]) == (20, True)


def test_older_ones_follow_after_id(api: Api, ids: list[str]) -> None:
    first = page(api, limit=3)
    second = page(api, limit=3, after_id=first["last_id"])
    last = page(api, limit=3, after_id=second["last_id"])
    assert [*shown(first), *shown(second), *shown(last)] == ids
    assert [first["has_more"], second["has_more"], last["has_more"]] == [True, True, False]


def test_before_id_gives_the_nearest_newer_ones(api: Api, ids: list[str]) -> None:
    listed = page(api, limit=2, before_id=ids[5])
    assert shown(listed) == ids[3:5]
    assert listed["has_more"] is True
    listed = page(api, limit=3, before_id=listed["first_id"])
    assert shown(listed) == ids[0:3]
    assert listed["has_more"] is False


def test_strangers_see_nothing(sandbox: Sandbox, api: Api, ids: list[str]) -> None:
    with Api(sandbox.url, "sk-ant-stranger-1").http as stranger:
        assert stranger.get("/v1/messages/batches").json()["data"] == []
        assert stranger.get(f"/v1/messages/batches/{ids[0]}").status_code == 404


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ({"limit": 0}, 400, "limit: Input should be greater than or equal to 1"),
        ({"limit": 1001}, 400, "limit: Input should be less than or equal to 1000"),
        ({"limit": "many"}, 400, "limit: Input should be a valid integer"),
        (
            {"after_id": "a", "before_id": "b"},
            400,
            "Only one of before_id and after_id can be specified.",
        ),
        ({"after_id": "msgbatch_x"}, 404, "Message Batch msgbatch_x not found."),
    ],
)
def test_bad_input_is_refused(api: Api, query: dict[str, Any], status: int, message: str) -> None:
    reply = api.get("/v1/messages/batches", params=query)
    assert error(reply)[::2] == (status, message)
