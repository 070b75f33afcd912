"""The official Python SDK, given a key and a base URL and nothing else."""

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic

from tests.processes import Sandbox
from tests.sandbox.api import Api, body, request

THINKER = "claude-opus-4-6"
TOOL: Any = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture
def client(sandbox: Sandbox, scope: str) -> Iterator[Anthropic]:
    with Anthropic(api_key=scope, base_url=sandbox.url) as client:
        yield client


@pytest.fixture
async def async_client(sandbox: Sandbox, scope: str) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(api_key=scope, base_url=sandbox.url) as client:
        yield client


def wait(client: Anthropic, batch_id: str) -> Any:
    deadline = time.monotonic() + 20
    while (batch := client.messages.batches.retrieve(batch_id)).processing_status != "ended":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return batch


def requests(*custom_ids: str, **fields: Any) -> Any:
    return [request(custom_id, **fields) for custom_id in custom_ids]


def test_it_works(client: Anthropic) -> None:
    batch = client.messages.batches.create(
        requests=[*requests("a", "b"), *requests("c", model="x")]
    )
    assert batch.processing_status == "in_progress"
    ended = wait(client, batch.id)
    assert (ended.request_counts.succeeded, ended.request_counts.errored) == (2, 1)
    results = {row.custom_id: row.result for row in client.messages.batches.results(batch.id)}
    assert results["a"].type == "succeeded"
    assert results["a"].message.content[0].type == "text"
    assert results["c"].type == "errored"
    assert results["c"].error.error.type == "not_found_error"
    assert client.messages.batches.delete(batch.id).id == batch.id


def test_lists_in_both_directions(client: Anthropic) -> None:
    ids = [client.messages.batches.create(requests=requests("a")).id for _ in range(5)][::-1]
    assert [batch.id for batch in client.messages.batches.list(limit=2)] == ids
    newer = client.messages.batches.list(limit=2, before_id=ids[-1])
    assert {batch.id for batch in newer} == set(ids[:-1])


def test_a_cancel(client: Anthropic, api: Api) -> None:
    api.set(batch_seconds=600)
    batch = client.messages.batches.create(requests=requests("a", "b", "c"))
    canceling = client.messages.batches.cancel(batch.id)
    assert canceling.processing_status == "canceling"
    assert canceling.cancel_initiated_at is not None
    wait(client, batch.id)
    kinds = {row.result.type for row in client.messages.batches.results(batch.id)}
    assert "canceled" in kinds


def test_messages_and_tokens(client: Anthropic) -> None:
    message = client.messages.create(**body("Why is the sky blue?"))
    counted = client.messages.count_tokens(model=message.model, messages=body()["messages"])
    assert message.content[0].type == "text"
    assert counted.input_tokens == message.usage.input_tokens


def test_models(client: Anthropic) -> None:
    models = list(client.models.list(limit=4))
    assert len(models) > 10
    model = client.models.retrieve("claude-opus-5-5")
    assert model.capabilities is not None
    assert model.capabilities.thinking.types.adaptive.supported
    assert model.lifecycle == "active"


def test_a_stream_of_text(client: Anthropic) -> None:
    with client.messages.stream(**body("Describe the harbour")) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == final.content[0].text
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 1


def test_a_stream_of_events(client: Anthropic) -> None:
    thinking: Any = {"type": "adaptive", "display": "summarized"}
    fields = body("Think about the harbour", model=THINKER, thinking=thinking)
    with client.messages.stream(**fields) as stream:
        types = {event.type for event in stream}
        final = stream.get_final_message()
    assert {"thinking", "signature", "text", "message_stop"} <= types
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert final.content[0].signature


def test_a_stream_of_a_tool_call(client: Anthropic) -> None:
    fields = body("What is the weather in Lisbon?", tools=[TOOL])
    with client.messages.stream(**fields) as stream:
        partial = [event.snapshot for event in stream if event.type == "input_json"]
        final = stream.get_final_message()
    assert partial[-1] == {"city": "Lisbon"}
    assert final.content[0].input == {"city": "Lisbon"}
    assert final.stop_reason == "tool_use"


def test_error_classes(client: Anthropic, sandbox: Sandbox) -> None:
    with pytest.raises(anthropic.NotFoundError, match="model: gpt-4") as caught:
        client.messages.create(**body(model="gpt-4"))
    assert caught.value.request_id
    with pytest.raises(anthropic.BadRequestError, match="at least one message"):
        client.messages.create(model=THINKER, max_tokens=5, messages=[])
    with pytest.raises(anthropic.NotFoundError, match="not found"):
        client.messages.batches.retrieve("msgbatch_x")
    for key, kind in (
        ("sk-ant-revoked-1", anthropic.AuthenticationError),
        ("sk-ant-forbidden-1", anthropic.PermissionDeniedError),
    ):
        with Anthropic(api_key=key, base_url=sandbox.url) as refused, pytest.raises(kind):
            refused.models.list()


def test_it_creates_three_batches_where_answers_are_lost(
    client: Anthropic, sandbox: Sandbox, scope: str
) -> None:
    fault = {"code": 529, "when": "after_effect", "retry_after": 0.01, "times": None}
    sandbox.fault(scope, "create", "status", **fault)
    with pytest.raises(anthropic.InternalServerError):
        client.messages.batches.create(requests=requests("a"))
    assert len(sandbox.ledger(scope)["creates"]) == 3


async def test_batches_asynchronously(async_client: AsyncAnthropic, api: Api) -> None:
    api.set(batch_seconds=0)
    batches = async_client.messages.batches
    batch = await batches.create(requests=requests("a", "b"))
    assert (await batches.retrieve(batch.id)).processing_status == "ended"
    rows = {row.custom_id: row.result.type async for row in await batches.results(batch.id)}
    assert rows == {"a": "succeeded", "b": "succeeded"}
    assert [each.id async for each in batches.list()] == [batch.id]
    assert (await batches.cancel(batch.id)).processing_status == "ended"
    assert (await batches.delete(batch.id)).type == "message_batch_deleted"


async def test_streams_asynchronously(async_client: AsyncAnthropic) -> None:
    async with async_client.messages.stream(**body("Describe the harbour")) as stream:
        text = "".join([part async for part in stream.text_stream])
        final = await stream.get_final_message()
    assert text == final.content[0].text
    counted = await async_client.messages.count_tokens(
        model=THINKER, messages=body("Describe the harbour")["messages"]
    )
    assert counted.input_tokens == final.usage.input_tokens
    assert [model.id async for model in async_client.models.list(limit=9)]
