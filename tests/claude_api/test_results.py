import json

import anthropic
import httpx2
import pytest

from claude_api import (
    Answer,
    ResultLine,
    ToolCall,
    UnreadableLine,
    Usage,
    read_answer,
    read_essentials,
    read_result_line,
    read_usage,
)

USAGE = {
    "input_tokens": 16,
    "cache_creation_input_tokens": 30,
    "cache_read_input_tokens": 0,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
    "output_tokens": 5,
    "output_tokens_details": {"thinking_tokens": 3},
    "server_tool_use": None,
    "service_tier": "batch",
    "inference_geo": "us",
}
READ_USAGE = Usage(16, 5, 30, 0, 10, 20, 3, 0, "batch", "us")


def succeeded(*content, stop_reason="end_turn", **more) -> bytes:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-5-5",
        "content": list(content),
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": USAGE,
        **more,
    }
    line = {"custom_id": "4_abcdefgh", "result": {"type": "succeeded", "message": message}}
    return json.dumps(line, ensure_ascii=False).encode()


def errored(error: dict) -> bytes:
    return json.dumps(
        {"custom_id": "4_abcdefgh", "result": {"type": "errored", "error": error}}
    ).encode()


def text(value: str) -> dict:
    return {"type": "text", "text": value, "citations": None}


def tool(name: str, **input) -> dict:
    return {"type": "tool_use", "id": "toolu_1", "name": name, "input": input}


ERROR = {
    "type": "error",
    "error": {
        "details": {"error_visibility": "user_facing"},
        "type": "not_found_error",
        "message": "model: claude-x",
    },
    "request_id": None,
}
LINES = {
    "text": succeeded(text("One "), text("two\u2028three")),
    "thinking": succeeded(
        {"type": "thinking", "thinking": "Hm.", "signature": "Eq"}, text("Yes"), tool("t", a=1)
    ),
    "refusal": succeeded(stop_reason="refusal", stop_details={"type": "refusal"}),
    "errored": errored(ERROR),
    "canceled": b'{"custom_id":"4_abcdefgh","result":{"type":"canceled"}}',
    "expired": b'{"custom_id":"4_abcdefgh","result":{"type":"expired"}}',
}


def ask_sdk(line: bytes):
    batch = {"id": "msgbatch_1", "results_url": "http://api.test/r", "type": "message_batch"}

    def reply(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/r":
            return httpx2.Response(200, content=line + b"\n")
        return httpx2.Response(200, json=batch)

    with httpx2.Client(transport=httpx2.MockTransport(reply)) as http:
        sdk = anthropic.Anthropic(
            api_key="sk-ant-key", base_url="http://api.test", http_client=http
        )
        return next(iter(sdk.messages.batches.results("msgbatch_1")))


def test_it_works():
    assert read_result_line(LINES["text"]) == ResultLine(
        "4_abcdefgh",
        "succeeded",
        "end_turn",
        usage=READ_USAGE,
        preview="One two\u2028three",
        model="claude-haiku-5-5",
        empty=False,
    )


@pytest.mark.parametrize("name", LINES)
def test_it_agrees_with_the_official_sdk(name):
    answer, theirs = read_answer(LINES[name]), ask_sdk(LINES[name])
    assert (answer.custom_id, answer.type) == (theirs.custom_id, theirs.result.type)
    if answer.type == "succeeded":
        message = theirs.result.message
        texts = [block.text for block in message.content if block.type == "text"]
        assert (answer.text, answer.model) == ("".join(texts), message.model)
        assert answer.stop_reason == message.stop_reason
        assert answer.usage.output_tokens == message.usage.output_tokens
        assert answer.usage.thinking_tokens == message.usage.output_tokens_details.thinking_tokens
    if answer.type == "errored":
        error = theirs.result.error.error
        assert (answer.error_type, answer.error_message) == (error.type, error.message)


def test_the_index_and_the_answer_agree():
    for line in LINES.values():
        brief, answer = read_result_line(line), read_answer(line)
        assert brief.preview == answer.text[:200]
        for name in ("custom_id", "type", "stop_reason", "error_type", "error_message", "usage"):
            assert getattr(brief, name) == getattr(answer, name)


def test_thinking_and_tools_stand_apart_from_text():
    answer = read_answer(LINES["thinking"])
    assert (answer.text, answer.thinking) == ("Yes", "Hm.")
    assert answer.tool_calls == (ToolCall("t", '{"a": 1}'),)


def test_an_answer_of_tools_alone_is_their_input():
    one, two = succeeded(tool("t", a=1)), succeeded(tool("t", a=1), tool("u"))
    assert read_answer(one).text == read_result_line(one).preview == '{"a": 1}'
    assert json.loads(read_answer(two).text) == [{"a": 1}, {}]


def test_a_preview_is_short():
    assert read_result_line(succeeded(text("ä" * 500))).preview == "ä" * 200


@pytest.mark.parametrize(
    "error",
    [ERROR, {"type": "not_found_error", "message": "model: claude-x"}],
    ids=["nested", "flat"],
)
def test_an_error_is_read_at_either_depth(error):
    result = read_result_line(errored(error))
    assert (result.error_type, result.error_message) == ("not_found_error", "model: claude-x")


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": None, "cache_creation": None}])
def test_usage_that_is_missing_counts_nothing(usage):
    assert read_result_line(succeeded(text("x"), usage=usage)).usage == Usage()
    assert read_usage(usage) == Usage()


def test_unknown_words_and_blocks_pass_through():
    line = succeeded({"type": "hologram", "beam": 1}, text("x"), stop_reason="tea")
    assert (read_result_line(line).stop_reason, read_result_line(line).preview) == ("tea", "x")
    later = b'{"custom_id":"1_a","result":{"type":"paused","why":"tea"},"more":1}'
    assert read_result_line(later) == ResultLine("1_a", "paused")
    assert read_answer(later) == Answer("1_a", "paused")


SUCCEEDED = succeeded(text("before MARK after"))


@pytest.mark.parametrize(
    ("mark", "shown"),
    [
        (rb"\u0000", "\ufffd"),
        (b"\x00", "\ufffd"),
        (rb"\ud800", "\ufffd"),
        (rb"\udc00 \ud83d\ude00", "\ufffd \U0001f600"),
        (b"\xff", "\ufffd"),
        (b"\t", "\t"),
    ],
)
def test_text_that_msgspec_or_a_database_refuses_is_shown_clean(mark, shown):
    line = SUCCEEDED.replace(b"MARK", mark)
    result = read_result_line(line)
    assert result.preview == read_answer(line).text == f"before {shown} after"
    assert (result.stop_reason, result.usage) == ("end_turn", READ_USAGE)


@pytest.mark.parametrize(
    "odd",
    [
        b"[" * 20_000 + b"]" * 20_000,
        b'{"a":' * 20_000 + b"[1]" + b"}" * 20_000,
        b"9" * 5000,
        b"-" + b"9" * 5000,
        b"1e999",
        b"NaN",
        rb'"\ud800"',
        b'"[[[\\"{"',
    ],
    ids=["arrays", "objects", "integer", "negative", "float", "nan", "surrogate", "brackets"],
)
@pytest.mark.parametrize("place", ["ignored", "input"])
def test_odd_values_do_not_lose_the_row(odd, place):
    block = {"type": "tool_use", "name": "t", "input": {}, place: "ODD"}
    line = succeeded(text("x"), block).replace(b'"ODD"', odd)
    result = read_result_line(line)
    assert (result.custom_id, result.type, result.preview) == ("4_abcdefgh", "succeeded", "x")
    assert result.usage == READ_USAGE
    assert [call.name for call in read_answer(line).tool_calls] == ["t"]


@pytest.mark.parametrize("odd", [b"5", b'"x"', b"[]", b'{"usage": "x"}', b'{"content": 5}'])
def test_a_message_of_a_strange_shape_still_has_its_row(odd):
    line = b'{"custom_id":"1_a","result":{"type":"succeeded","message":%b}}' % odd
    assert read_result_line(line) == ResultLine("1_a", "succeeded")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff",
        b"[" * 20_000,
        b'{"custom_id":"1_a"}',
        b'{"custom_id":"1_a","result":{}}',
        b'{"custom_id":5,"result":{"type":"expired"}}',
        b'{"result":{"type":"expired"}}',
        b'{"custom_id":"1_a","result":{"type":null}}',
        b'{"custom_id":"1_a","result":{"type":"expired"}',
        b'{"custom_id":"1_a","result":{"type":"expired"}} x',
    ],
)
@pytest.mark.parametrize("read", [read_result_line, read_answer, read_essentials])
def test_a_line_without_id_or_type_is_unreadable(read, line):
    with pytest.raises(UnreadableLine, match=r"^The line "):
        read(line)


def test_a_line_of_20_mb_is_read():
    line = succeeded(text("x" * 20 * 2**20))
    assert read_result_line(line).preview == "x" * 200
    odd = line.replace(b'"xxx', rb'"\ud800x', 1)
    assert read_result_line(odd).preview == "\ufffd" + "x" * 199
    assert read_essentials(odd) == ("4_abcdefgh", "succeeded")


@pytest.mark.parametrize(
    "line",
    [
        succeeded(text("yes")),
        b'{"custom_id":"1_a","result":{"type":"succeeded","message":"\xff"}}',
        rb'{"custom_id":"1_a","result":{"type":"succeeded","message":{"id":"\u0000\ud800"}}}',
        b'{"custom_id":"1_a","result":{"type":"succeeded","x":' + b"9" * 5_000 + b"}}",
        b'{"custom_id":"1_a","result":{"type":"succeeded","x":'
        + b"[" * 20_000
        + b"]" * 20_000
        + b"}}",
    ],
    ids=["plain", "not UTF-8", "NUL and half a pair", "5,000 digits", "deep"],
)
def test_id_and_type_are_the_same_by_themselves(line):
    whole = read_result_line(line)
    assert read_essentials(line) == (whole.custom_id, whole.type)
