"""Live turns for tests: asked of the sandbox, watched, and what the sandbox would say whole."""

import json
import urllib.request
from datetime import UTC, datetime
from typing import Any

from leases.clock import database_now
from streaming import asking, relay
from streaming.following import find_hub
from streaming.models import Conversation, Turn
from tests.processes import Sandbox
from workspaces.keys import save_key
from workspaces.models import Workspace

PARAMETERS = {"model": "claude-haiku-4-5", "max_tokens": 200}
HELLO = [{"role": "user", "content": "Name three rivers and say something of each."}]


def make_conversation(scope: str = "sk-ant-test-key", slug: str = "acme") -> Conversation:
    workspace = Workspace.objects.filter(slug=slug).first()
    if workspace is None:
        workspace = Workspace.objects.create(name=slug.title(), slug=slug)
        save_key(workspace, "sandbox", scope)
    return asking.begin(workspace, "Rivers", database_now(), actor=None)


def make_turn(conversation: Conversation, token: str = "one", **fields: Any) -> Turn:
    given = {"prompt": HELLO, "parameters": PARAMETERS, "at": database_now()} | fields
    at, prompt, parameters = given.pop("at"), given.pop("prompt"), given.pop("parameters")
    turn, _ = asking.ask(conversation, prompt, parameters, at, token=token, **given)
    return turn


def start(turn: Turn) -> relay.Relay:
    key = asking.usable_key(turn.conversation.workspace)
    request = asking.request_of(turn)
    return relay.start(turn, request, lambda: asking.client_of(key))


def ask_whole(sandbox: Sandbox, scope: str, request: dict[str, Any]) -> dict[str, Any]:
    """The same request without streaming: the sandbox answers it alike."""
    call = urllib.request.Request(
        f"{sandbox.url}/v1/messages",
        json.dumps(request).encode(),
        {"x-api-key": scope, "anthropic-version": "2026-10-21", "content-type": "application/json"},
    )
    with urllib.request.urlopen(call, timeout=20) as reply:
        return json.load(reply)


def set_pace(sandbox: Sandbox, scope: str, rate: float) -> None:
    call = urllib.request.Request(
        f"{sandbox.url}/_sandbox/settings",
        json.dumps({"token_rate": rate}).encode(),
        {"x-api-key": scope, "content-type": "application/json"},
    )
    urllib.request.urlopen(call, timeout=20).close()


async def watch(turn: Turn) -> list[dict[str, Any]]:
    """Every frame from now on, to the end."""
    viewer, frames = find_hub(turn.pk).join(), []
    while True:
        for frame in await viewer.take():
            frames.append(json.loads(frame.payload))
            if frame.is_end:
                return frames


def text_in(frames: list[dict[str, Any]]) -> str:
    return "".join(
        event["delta"].get("text", "")
        for frame in frames
        for event in frame.get("events", [])
        if event["type"] == "content_block_delta"
    )


def now() -> datetime:
    return datetime.now(UTC)
