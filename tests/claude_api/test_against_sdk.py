"""Our reading and the official SDK's, of the same bytes."""

import json

import anthropic
import httpx
import httpx2
import pytest

from claude_api import Client, read_answer, split_jsonl

BATCH = {
    "id": "msgbatch_01Abc",
    "type": "message_batch",
    "processing_status": "ended",
    "request_counts": {"processing": 0, "succeeded": 3, "errored": 1, "canceled": 1, "expired": 1},
    "created_at": "2026-11-20T10:00:00.570697+00:00",
    "expires_at": "2026-11-21T10:00:00.570697Z",
    "ended_at": "2026-11-20T10:05:00+00:00",
    "archived_at": None,
    "cancel_initiated_at": "2026-11-20T12:04:00.5+02:00",
    "results_url": "http://api.test/v1/messages/batches/msgbatch_01Abc/results",
}
STARTED = BATCH | {"processing_status": "in_progress", "ended_at": None, "results_url": None}
PAGE = {
    "data": [BATCH, STARTED],
    "has_more": False,
    "first_id": "msgbatch_01Abc",
    "last_id": "msgbatch_01Abc",
}
MODEL = {
    "type": "model",
    "id": "claude-opus-5-5",
    "display_name": "Claude Opus 5.5",
    "created_at": "2026-09-22T00:00:00Z",
    "lifecycle": "active",
    "line": "opus",
    "deprecated_at": None,
    "retires_at": None,
    "max_input_tokens": 1_000_000,
    "max_tokens": 128_000,
    "capabilities": {"batch": {"supported": True}},
}
TEXTS = ["plain", "one\u2028two\u2029three\u0085four", 'quote " slash \\ tab \t', "里斯本 🙂", ""]


def ours(content: bytes) -> Client:
    return Client(
        "http://api.test",
        "sk-ant-key",
        transport=httpx.MockTransport(lambda request: httpx.Response(200, content=content)),
    )


@pytest.fixture
def sdk():
    """The SDK as a function of the bytes it will be answered with, the batch itself aside."""
    opened = []

    def make(content: bytes) -> anthropic.Anthropic:
        def reply(request: httpx2.Request) -> httpx2.Response:
            whole = json.dumps(BATCH).encode()
            single = request.url.path.endswith("/msgbatch_01Abc")
            headers = {"content-type": "application/json"}
            return httpx2.Response(200, content=whole if single else content, headers=headers)

        opened.append(httpx2.Client(transport=httpx2.MockTransport(reply)))
        return anthropic.Anthropic(
            api_key="sk-ant-key", base_url="http://api.test", http_client=opened[-1]
        )

    yield make
    for http in opened:
        http.close()


def assert_same(mine, theirs) -> None:
    for name in mine.__struct_fields__:
        value, other = getattr(mine, name), getattr(theirs, name)
        if hasattr(value, "__struct_fields__"):
            assert_same(value, other)
        else:
            assert value == other, name


def test_a_batch(sdk):
    content = json.dumps(BATCH).encode()
    theirs = sdk(content).messages.batches.retrieve("msgbatch_01Abc")
    assert_same(ours(content).retrieve_batch("msgbatch_01Abc"), theirs)


def test_a_list_page(sdk):
    content = json.dumps(PAGE).encode()
    mine, theirs = ours(content).list_batches(), sdk(content).messages.batches.list()
    assert (mine.has_more, mine.first_id, mine.last_id) == (
        theirs.has_more,
        theirs.first_id,
        theirs.last_id,
    )
    for one, other in zip(mine.data, theirs.data, strict=True):
        assert_same(one, other)


def test_models(sdk):
    content = json.dumps({"data": [MODEL], "has_more": False, "last_id": MODEL["id"]}).encode()
    mine, theirs = ours(content).list_models(), list(sdk(content).models.list())
    for name in ("id", "display_name", "created_at", "lifecycle", "line", "max_tokens"):
        assert [getattr(model, name) for model in mine] == [getattr(each, name) for each in theirs]


def results_file() -> bytes:
    lines = []
    for row, text in enumerate(TEXTS):
        content = [{"type": "text", "text": text}] if text else []
        message = {"id": "m", "type": "message", "content": content, "stop_reason": "end_turn"}
        result = {"type": "succeeded", "message": message}
        lines.append({"custom_id": f"{row}_abcdefgh", "result": result})
    lines.append({"custom_id": "9_abcdefgh", "result": {"type": "expired"}})
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)


def theirs_of(sdk: anthropic.Anthropic) -> list[tuple[str, str, str]]:
    read = []
    for line in sdk.messages.batches.results("msgbatch_01Abc"):
        message = getattr(line.result, "message", None)
        text = "".join(block.text for block in message.content) if message else ""
        read.append((line.custom_id, line.result.type, text))
    return read


def ours_of(content: bytes) -> list[tuple[str, str, str]]:
    with ours(content).download_results("msgbatch_01Abc") as chunks:
        answers = [read_answer(line) for line in split_jsonl(chunks)]
    return [(answer.custom_id, answer.type, answer.text) for answer in answers]


def test_results(sdk):
    content = results_file()
    assert ours_of(content) == theirs_of(sdk(content))
    assert [text for _, _, text in ours_of(content)] == [*TEXTS, ""]


def test_results_in_crlf_are_those_of_newlines():
    content = results_file()
    assert ours_of(content.replace(b"\n", b"\r\n")) == ours_of(content)


def test_results_cut_at_every_offset():
    content = results_file()
    lines = content.split(b"\n")[:-1]
    for offset in range(len(content) + 1):
        assert list(split_jsonl([content[:offset], content[offset:]])) == lines


def test_the_same_lines_come_from_a_file_without_a_last_newline(sdk):
    content = results_file().removesuffix(b"\n")
    assert ours_of(content) == theirs_of(sdk(content))
