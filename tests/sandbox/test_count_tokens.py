from typing import Any

import pytest

from tests.sandbox.api import MODEL, Api, error


def count(api: Api, text: str, **fields: Any) -> int:
    content = {"model": MODEL, "messages": [{"role": "user", "content": text}], **fields}
    reply = api.post("/v1/messages/count_tokens", json=content)
    assert reply.status_code == 200, reply.text
    return reply.json()["input_tokens"]


def test_it_works(api: Api) -> None:
    empty = count(api, "x")
    assert count(api, "word " * 800) - empty == pytest.approx(1000, abs=2)
    assert count(api, "海" * 500) - empty == pytest.approx(500, abs=2)
    assert count(api, "é" * 400) - empty == pytest.approx(250, abs=5)


def test_system_and_tools_count(api: Api) -> None:
    tool = {"name": "note", "description": "d" * 400, "input_schema": {"type": "object"}}
    assert count(api, "x", system="word " * 80) > count(api, "x") + 90
    assert count(api, "x", tools=[tool]) > count(api, "x") + 100


def test_it_agrees_with_the_usage_of_the_answer(api: Api) -> None:
    assert count(api, "Why is the sky blue?") == api.ask()["usage"]["input_tokens"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"model": MODEL}, 400), ({"max_tokens": 5}, 400), ({"model": "gpt-4"}, 404)],
)
def test_bad_input_is_refused(api: Api, fields: dict[str, Any], status: int) -> None:
    messages = [] if fields == {"model": MODEL} else [{"role": "user", "content": "x"}]
    content = {"model": MODEL, "messages": messages, **fields}
    assert error(api.post("/v1/messages/count_tokens", json=content))[0] == status
