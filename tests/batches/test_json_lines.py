"""Ready requests: what a line may be, and what keeps it from being sent."""

import json
from typing import Any

import pytest
from pytest_django import Settings

from tests.batches.reading import read

MESSAGES = [{"role": "user", "content": "hi"}]


def request(own_id: Any = "a", **changes: Any) -> str:
    params = {"model": "m", "max_tokens": 1, "messages": MESSAGES, **changes}
    kept = {name: value for name, value in params.items() if value is not ...}
    return json.dumps({"custom_id": own_id, "params": kept})


def problems(*lines: str | bytes) -> list[str]:
    data = [line.encode() if isinstance(line, str) else line for line in lines]
    # Between two sound lines, so that none of those under test is the first or the last.
    framed = [request("first").encode(), *data, request("last").encode()]
    found = read(b"\n".join(framed), "r.jsonl")
    return [problem.removeprefix("Row 2: ") for problem in found.problems]


def test_requests_are_read() -> None:
    found = read(f"{request('a')}\n\r\n \n{request('b')}\r\n".encode(), "r.jsonl")
    assert [(row.number, row.own_id) for row in found.rows] == [(1, "a"), (4, "b")]
    assert json.loads(bytes(found.rows[1].params))["messages"] == MESSAGES
    assert found.problems == []


def test_line_separators_inside_text_cut_nothing() -> None:
    messages = [{"role": "user", "content": "x\u2028y\u0085z"}]
    params = {"model": "m", "max_tokens": 1, "messages": messages}
    line = json.dumps({"custom_id": "a", "params": params}, ensure_ascii=False)
    found = read(line.encode(), "r.jsonl")
    assert "x\u2028y\u0085z" in bytes(found.rows[0].params).decode()


def test_utf16_lines_are_read() -> None:
    found = read(f"{request('a')}\n{request('b')}\n".encode("utf-16"), "r.jsonl")
    assert ([row.own_id for row in found.rows], found.problems) == (["a", "b"], [])


def test_every_fault_of_every_line_is_told() -> None:
    found = read(b'{"custom_id":"","params":{}}\n[]\n{"params":1}\n', "r.jsonl")
    rows = [problem.split(":")[0] for problem in found.problems]
    assert rows == ["Row 1"] * 4 + ["Row 2"] + ["Row 3"] * 2
    assert found.rows[1].reason.startswith("Line 2: expected an object, found an array.")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"custom_id":"a" "params":{}}', "column 18: expected , or a closing bracket."),
        ('{"custom_id" "a"}', "column 14: expected : after the key."),
        ('{"custom_id":"a",}', "column 18: JSON does not allow a comma before }."),
        ("{'custom_id':'a'}", "column 2: JSON does not allow single quotes"),
        ('{"custom_id":"a", // id\n', "column 19: JSON does not allow comments."),
        ('{"custom_id":True}', "column 14: JSON does not allow True"),
        ('{"custom_id":"a"} {"b":1}', "column 19: expected the end of the line"),
        ('{"custom_id":"a", "params":', "column 28: the line ends before its object does."),
        ('{"custom_id":"a\tb"}', "column 16: invalid control character at."),
        ('{"custom_id":"a","custom_id":"b","params":{}}', "key `custom_id` is given twice."),
        ('{"custom_id":"a","params":{"model":NaN}}', "NaN is not valid JSON."),
        ('{"custom_id":"a","params":{"x":-Infinity}}', "-Infinity is not valid JSON."),
        ('{"custom_id":"a","params":{"x":1e999}}', "number out of range: 1e999."),
        ('{"custom_id":"a","params":{"x":' + "9" * 5000 + "}}", "number out of range: 9999"),
        ('{"custom_id":"a","params":{"x":"\\ud800!"}}', "`params.x`: half of a surrogate pair"),
        ('{"custom_id":"a","params":{"x":"\\udc00"}}', "`params.x`: half of a surrogate pair"),
        ("[" * 100_000, "nested deeper than 64."),
        ('{"a":' * 64 + "[]" + "}" * 64, "nested deeper than 64."),
    ],
)
def test_what_is_no_json_is_explained(line: str, sentence: str) -> None:
    assert problems(line)[0].startswith(sentence)


def test_a_double_key_deep_inside() -> None:
    line = request(metadata=...).replace('"role"', '"role": "user", "role"')
    assert problems(line)[0].startswith("key `role` is given twice.")


def test_colons_and_quotes_in_text_are_no_keys() -> None:
    assert problems(request(messages=[{"role": "user", "content": 'a: "b": \\ "c":'}])) == []


def test_nesting_up_to_the_limit() -> None:
    deep: Any = {}
    for _ in range(61):
        deep = {"a": deep}
    assert problems(request(metadata=deep)) == []


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("[1]", "expected an object, found an array."),
        ('"x"', "expected an object, found text."),
        ("7", "expected an object, found a number."),
        ("null", "expected an object, found null."),
    ],
)
def test_a_line_is_an_object(line: str, sentence: str) -> None:
    assert problems(line)[0].startswith(sentence)


def test_the_last_line_cut_off() -> None:
    found = read(f"{request('a')}\n{request('b')[:40]}".encode(), "r.jsonl")
    assert found.problems == ["Row 2: cut off at column 40. The upload may be incomplete."]
    assert found.rows[1].own_id == "b"


@pytest.mark.parametrize(
    ("own_id", "sentence"),
    [
        ("", "custom_id is empty."),
        (7, 'custom_id must be text. Write "7".'),
        (None, "custom_id must be text, found null."),
        ("x" * 65, "custom_id `xxx"),
        ("a b", "custom_id `a b` is not one that the API takes. Allowed are letters"),
        ("é", "custom_id `é` is not one"),
        ("../a", "custom_id `../a` is not one"),
    ],
)
def test_custom_id(own_id: Any, sentence: str) -> None:
    assert problems(request(own_id))[0].startswith(sentence)


def test_custom_id_missing() -> None:
    assert problems('{"params":' + json.dumps({"model": "m"}) + "}")[0].startswith(
        "custom_id is missing."
    )


def test_custom_id_given_twice_names_both_lines() -> None:
    assert problems(request("a"), request("b"), request("first"))[0].startswith(
        "Row 4: custom_id `first` is on lines 1 and 4."
    )


def test_custom_ids_that_differ_by_case_are_two() -> None:
    assert problems(request("A"), request("a")) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": ...}, "`params.model` is missing."),
        ({"model": ""}, '`params.model` is "".'),
        ({"max_tokens": ...}, "`params.max_tokens` is missing."),
        ({"max_tokens": 0}, "`params.max_tokens` is 0. Write a whole number from 1."),
        ({"max_tokens": -1}, "`params.max_tokens` is -1."),
        (
            {"max_tokens": 10**9 + 1},
            "`params.max_tokens` is 1000000001. Write a whole number from 1 to 1,000,000,000.",
        ),
        ({"max_tokens": 10**30}, "`params.max_tokens` is 1000000000000000000000000000000."),
        ({"max_tokens": -(10**30)}, "`params.max_tokens` is -1000000000000000000000000000000."),
        ({"max_tokens": "100"}, '`params.max_tokens` is "100".'),
        ({"max_tokens": 1.5}, "`params.max_tokens` is 1.5."),
        ({"max_tokens": True}, "`params.max_tokens` is true."),
        ({"messages": ...}, "`params.messages` is missing."),
        ({"messages": []}, "`params.messages` has no entries."),
        ({"messages": "hi"}, "`params.messages`: expected an array, found text."),
        ({"messages": ["hi"]}, "`params.messages[0]`: expected an object, found text."),
        (
            {"messages": [*MESSAGES, {"role": "bot", "content": "x"}]},
            '`params.messages[1].role` is "bot".',
        ),
        ({"messages": [{"role": "user"}]}, "`params.messages[0].content`: expected text"),
        ({"messages": [{"role": "user", "content": ""}]}, "`params.messages[0].content` is empty."),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
            "`params.messages[0].content[0].text` is empty.",
        ),
        ({"messages": [{"role": "user", "content": "a\0b"}]}, "`params.messages[0].content`: NUL"),
        ({"stream": True}, "`params.stream` is not allowed in a batch."),
        ({"speed": "fast"}, "`params.speed` is not allowed in a batch."),
        ({"temperature": 1.0}, "`params.temperature` is refused by the API since version"),
        ({"top_p": 0.9}, "`params.top_p` is refused"),
        ({"top_k": 5}, "`params.top_k` is refused"),
    ],
)
def test_params(changes: dict[str, Any], sentence: str) -> None:
    assert problems(request(**changes))[0].startswith(sentence)


def test_the_most_tokens_that_are_taken() -> None:
    assert problems(request(max_tokens=10**9)) == []


def test_what_is_unknown_or_harmless_passes() -> None:
    assert problems(request(stream=False, temprature=1, metadata={"user_id": "\\u0000"})) == []


def test_an_older_version_takes_a_temperature(settings: Settings) -> None:
    settings.CLAUDE_API_VERSION = "2023-06-01"
    assert problems(request(temperature=1.0, top_p=0.5)) == []


def test_nothing_stands_beside_custom_id_and_params() -> None:
    line = '{"custom_id":"a","note":1,' + request()[len('{"custom_id": "a", ') :]
    assert problems(line) == [
        "the API takes nothing beside custom_id and params: `note`. Delete it."
    ]


def test_params_without_a_frame() -> None:
    assert "without its frame" in problems('{"model":"m","messages":[]}')[0]


def test_a_line_above_32_megabytes_is_named_and_read_over() -> None:
    found = problems(b'{"a":"' + b"x" * 41_000_000 + b'"}', request("b"))
    assert found == ["41.0 MB, the limit is 32 MB. Shorten the request."]
