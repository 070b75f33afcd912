"""The sandbox as its tests speak to it: plain HTTP, in the newer version."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx

NEWER, OLDER = "2026-10-21", "2023-06-01"
MODEL = "claude-haiku-4-5"


def body(text: str = "Why is the sky blue?", **fields: Any) -> dict[str, Any]:
    """The body of a message request."""
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "max_tokens": 1000, "messages": messages, **fields}


def request(custom_id: str = "row-1", text: str = "Hello", **fields: Any) -> dict[str, Any]:
    """One request of a batch."""
    return {"custom_id": custom_id, "params": body(text, **fields)}


class Api:
    """A client of one scope, of which each test has its own."""

    def __init__(self, url: str, key: str, version: str = NEWER) -> None:
        headers = {"x-api-key": key, "anthropic-version": version}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False)
        self.get, self.post, self.delete = self.http.get, self.http.post, self.http.delete

    def set(self, **settings: float) -> dict[str, Any]:
        return self.post("/_sandbox/settings", json=settings).raise_for_status().json()

    def ledger(self, **query: Any) -> dict[str, Any]:
        return self.get("/_sandbox/ledger", params=query).raise_for_status().json()

    def try_create(self, *requests: Any) -> httpx.Response:
        return self.post("/v1/messages/batches", json={"requests": list(requests)})

    def create(self, *requests: Any) -> dict[str, Any]:
        return self.try_create(*(requests or [request()])).raise_for_status().json()

    def retrieve(self, batch: dict[str, Any]) -> dict[str, Any]:
        return self.get(path(batch)).raise_for_status().json()

    def finish(self, *requests: Any) -> dict[str, Any]:
        """A batch that has ended."""
        self.set(batch_seconds=0)
        return self.retrieve(self.create(*requests))

    def wait(self, batch: dict[str, Any], seconds: float = 10) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while (shown := self.retrieve(batch))["processing_status"] != "ended":
            assert time.monotonic() < deadline, shown
            time.sleep(0.02)
        return shown

    def results(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The results by custom_id; a custom_id that comes twice is an error."""
        lines = self.get(f"{path(batch)}/results").raise_for_status().content.split(b"\n")
        assert lines.pop() == b""
        rows = [json.loads(line) for line in lines]
        found = {row["custom_id"]: row["result"] for row in rows}
        assert len(found) == len(rows)
        return found

    def result(self, **fields: Any) -> dict[str, Any]:
        """What becomes of a single request with these params."""
        batch = self.finish(request(**fields))
        return self.results(batch)["row-1"]

    def ask(self, text: str = "Why is the sky blue?", **fields: Any) -> dict[str, Any]:
        reply = self.post("/v1/messages", json=body(text, **fields))
        assert reply.status_code == 200, reply.text
        return reply.json()

    def stream(self, text: str = "Why is the sky blue?", **fields: Any) -> list[dict[str, Any]]:
        """The data of every event; each must be named as its type."""
        reply = self.post("/v1/messages", json=body(text, stream=True, **fields))
        assert reply.status_code == 200, reply.text
        return list(events(reply.content))


def events(content: bytes) -> Iterator[dict[str, Any]]:
    *parts, last = content.split(b"\n\n")
    assert last == b""
    for part in parts:
        name, data = part.split(b"\n")
        event = json.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        yield event


def path(batch: dict[str, Any]) -> str:
    return f"/v1/messages/batches/{batch['id']}"


def error(reply: httpx.Response) -> tuple[int, str, str]:
    """Status, type and message of a refusal."""
    told = reply.json()["error"]
    return reply.status_code, told["type"], told["message"]


def text_of(message: dict[str, Any]) -> str:
    return "".join(block["text"] for block in message["content"] if block["type"] == "text")
