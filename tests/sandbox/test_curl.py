"""curl, as the API's own documentation uses it."""

import json
import shutil
import subprocess

import pytest

from tests.processes import Sandbox
from tests.sandbox.api import Api, body, events, request

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="needs the Debian package curl"
)


def curl(*arguments: str, key: str, given: str | None = None) -> bytes:
    headers = (f"x-api-key: {key}", "anthropic-version: 2023-06-01")
    options = [part for header in headers for part in ("--header", header)]
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "--noproxy", "*"]
    ended = subprocess.run(
        [*command, *options, *arguments],
        input=given.encode() if given else None,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return ended.stdout


def test_it_works(sandbox: Sandbox, scope: str, api: Api) -> None:
    api.set(batch_seconds=0)
    url = f"{sandbox.url}/v1/messages/batches"
    content = json.dumps({"requests": [request("a"), request("b")]})
    json_type = ("--header", "content-type: application/json")
    created = json.loads(curl(url, *json_type, "--data-binary", "@-", key=scope, given=content))
    batch = json.loads(curl(f"{url}/{created['id']}", key=scope))
    lines = curl(batch["results_url"], key=scope).splitlines()
    assert {json.loads(line)["custom_id"] for line in lines} == {"a", "b"}
    assert json.loads(curl("--request", "DELETE", f"{url}/{created['id']}", key=scope))


def test_a_large_body_that_asks_first(sandbox: Sandbox, scope: str) -> None:
    """curl announces bodies of this size with `Expect: 100-continue`."""
    content = json.dumps({"requests": [request("a", "word " * 1_000_000)]})
    url = f"{sandbox.url}/v1/messages/batches"
    created = json.loads(curl(url, "--data-binary", "@-", key=scope, given=content))
    assert created["request_counts"]["processing"] == 1


def test_a_stream(sandbox: Sandbox, scope: str) -> None:
    content = json.dumps(body(stream=True))
    url = f"{sandbox.url}/v1/messages"
    streamed = curl("--no-buffer", url, "--data-binary", "@-", key=scope, given=content)
    assert list(events(streamed))[-1] == {"type": "message_stop"}
