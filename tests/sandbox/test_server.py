import httpx
import pytest

from tests.processes import Sandbox
from tests.sandbox.api import NEWER, OLDER, Api, body, error

VERSION = {"anthropic-version": NEWER}
LIST = "/v1/messages/batches"


def get(sandbox: Sandbox, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(f"{sandbox.url}{LIST}", headers=named, trust_env=False)


def test_it_works(sandbox: Sandbox, scope: str) -> None:
    reply = get(sandbox, x_api_key=scope, **VERSION)
    name = scope.split("-")[2]
    assert reply.status_code == 200
    assert reply.headers["request-id"].startswith("req_01")
    assert reply.headers["anthropic-workspace-id"] == f"wrkspc_{name}"
    assert reply.headers["anthropic-organization-id"]
    assert int(reply.headers["anthropic-ratelimit-requests-remaining"]) > 0


def test_both_headers_carry_a_key(sandbox: Sandbox, scope: str) -> None:
    bearer = get(sandbox, authorization=f"Bearer {scope}", **VERSION)
    api_key = get(sandbox, x_api_key=scope, **VERSION)
    wanted = "anthropic-workspace-id"
    assert bearer.headers[wanted] == api_key.headers[wanted]


@pytest.mark.parametrize(
    ("key", "status", "kind"),
    [
        ("sk-ant-revoked-1", 401, "authentication_error"),
        ("sk-ant-forbidden-1", 403, "permission_error"),
        ("sk-ant-UPPER-1", 401, "authentication_error"),
        ("sk-ant-scope", 401, "authentication_error"),
        ("sk-ant-scope-", 401, "authentication_error"),
        ("sk-ant-../..-1", 401, "authentication_error"),
        ("nonsense", 401, "authentication_error"),
    ],
)
def test_strangers_are_refused(sandbox: Sandbox, key: str, status: int, kind: str) -> None:
    reply = get(sandbox, x_api_key=key, **VERSION)
    assert error(reply)[:2] == (status, kind)
    assert reply.headers["x-should-retry"] == "false"
    assert reply.json()["request_id"] == reply.headers["request-id"]
    assert "anthropic-workspace-id" not in reply.headers


def test_without_a_key_nothing_is_served(sandbox: Sandbox) -> None:
    assert error(get(sandbox, **VERSION))[:2] == (401, "authentication_error")
    assert error(get(sandbox, authorization="Basic eA==", **VERSION))[0] == 401


def test_the_version_is_required(sandbox: Sandbox, scope: str) -> None:
    assert error(get(sandbox, x_api_key=scope))[:2] == (400, "invalid_request_error")
    unknown = get(sandbox, x_api_key=scope, anthropic_version="2024-01-01")
    assert unknown.status_code == 400
    assert get(sandbox, x_api_key=scope, anthropic_version=OLDER).status_code == 200


def test_another_workspace_is_refused(sandbox: Sandbox, scope: str) -> None:
    own = f"wrkspc_{scope.split('-')[2]}"
    reply = get(sandbox, x_api_key=scope, anthropic_workspace_id=own, **VERSION)
    assert reply.status_code == 200
    reply = get(sandbox, x_api_key=scope, anthropic_workspace_id="wrkspc_other", **VERSION)
    assert error(reply)[:2] == (403, "permission_error")


def test_unknown_addresses_are_refused_in_the_same_shape(api: Api) -> None:
    assert error(api.get("/v1/nothing"))[:2] == (404, "not_found_error")
    assert error(api.post("/v1/models"))[:2] == (405, "invalid_request_error")


def test_a_message_above_32_mib_is_refused(api: Api) -> None:
    reply = api.post("/v1/messages", json=body("x" * (32 << 20)))
    assert error(reply)[:2] == (413, "request_too_large")
