"""How an outcome is written: cells, quoting, formulas, raw results."""

import csv
import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batches.archive import Row
from batches.exporting_formats import cut_result, guard, name_columns, write_csv, write_jsonl
from batches.exporting_rows import Outcome
from claude_api import read_answer


def line_of(result: bytes) -> bytes:
    return b'{"custom_id":"2_abcdefgh","result":%s}' % result


def outcome_of(result: bytes, *cells: str) -> Outcome:
    answer = read_answer(line_of(result))
    return Outcome(Row(2, cells=list(cells)), "r1", answer.type, "", answer, line_of(result))


def message(content: object, **usage: int) -> bytes:
    body = {"content": content, "stop_reason": "end_turn", "usage": usage}
    return json.dumps({"type": "succeeded", "message": body}).encode()


def written(columns: list[str], *outcomes: Outcome, **options: bool) -> str:
    return b"".join(write_csv(columns, outcomes, **options)).decode()


def data_of(*outcomes: Outcome) -> bytes:
    return b"".join(write_jsonl(outcomes))


def test_it_works() -> None:
    result = message([{"type": "text", "text": 'He said "ok",\nthen left'}], input_tokens=7)
    assert written(["note"], outcome_of(result, "a;b\r\nc")) == (
        "note,custom_id,result,text,stop_reason,input_tokens,output_tokens,error\r\n"
        '"a;b\r\nc",r1,succeeded,"He said ""ok"",\nthen left",end_turn,7,0,\r\n'
    )


def test_our_columns_step_aside() -> None:
    taken = ["text", "error", "claude_error", "result ", "Custom_id"]
    assert name_columns(taken) == [
        "custom_id",
        "result",
        "claude_text",
        "stop_reason",
        "input_tokens",
        "output_tokens",
        "claude_2_error",
    ]


@pytest.mark.parametrize("cell", ["=1+1", "+A1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "- a"])
def test_formula_gets_an_apostrophe(cell: str) -> None:
    assert guard(cell) == "'" + cell


@pytest.mark.parametrize(
    "cell", ["-1", "+1.5", "-3,5", "-1,234.50", "-.5", "-1e-5", "a=1", "", " "]
)
def test_plain_cell_stays(cell: str) -> None:
    assert guard(cell) == cell


def test_original_cells_and_headers_are_guarded_too() -> None:
    result = message([{"type": "text", "text": "- first"}])
    head, row = written(["=name"], outcome_of(result, "@cell")).splitlines()
    assert head.startswith("'=name,")
    assert row.startswith("'@cell,r1,succeeded,'- first,")
    assert "'" not in written(["=name"], outcome_of(result, "@cell"), exact=True)


def test_mark_for_excel() -> None:
    chunks = list(write_csv(["ä"], [], bom=True))
    assert b"".join(chunks).startswith(b"\xef\xbb\xbf\xc3\xa4,custom_id")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(), min_size=1, max_size=4), st.booleans())
def test_any_cell_comes_back(cells: list[str], exact: bool) -> None:
    columns = [f"c{number}" for number in range(len(cells))]
    text = written(columns, Outcome(Row(2, cells=cells), "1", "waiting"), exact=exact)
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert len(rows) == 2
    for cell, read in zip(cells, rows[1], strict=False):
        original = cell.replace("\0", "\ufffd")
        assert read in ([original] if exact else [original, "'" + original])
        assert exact or read[:1] not in tuple("=@\t\r\n")
        assert exact or read[:1] not in tuple("+-") or not set(read) - set("+-0123456789.,eE")


def test_all_input_is_counted() -> None:
    usage = {
        "input_tokens": 3,
        "cache_read_input_tokens": 40,
        "cache_creation_input_tokens": 500,
        "output_tokens": 6,
    }
    text = written([], outcome_of(message([{"type": "text", "text": "x"}], **usage)))
    assert text.splitlines()[1] == "r1,succeeded,x,end_turn,543,6,"


def test_tool_input_stands_for_the_text() -> None:
    call = {"type": "tool_use", "id": "t", "name": "label", "input": {"theme": "size"}}
    text = written([], outcome_of(message([call], input_tokens=1)))
    assert next(csv.reader([text.splitlines()[1]]))[2] == '{"theme": "size"}'


RAW = [
    b'{"type": "succeeded",  "message": {"id":"\\u00e9", "n": 1.0e5, "u": "\xe2\x80\xa8"}}',
    b'{"type":"succeeded","message":{"content":[{"type":"text","text":"\\ud800 } \\" {"}]}}',
    b'{"type":"succeeded","x":' + b"[" * 3_000 + b"]" * 3_000 + b"}",
    b'{"type":"succeeded","n":123456789012345678901234567890}',
]


@pytest.mark.parametrize("result", RAW, ids=["spaces", "surrogate", "nested", "huge"])
def test_result_is_carried_byte_for_byte(result: bytes) -> None:
    line = b'{"row":2,"custom_id":"r1","result":%s}\n' % result
    assert data_of(outcome_of(result)) == line


@pytest.mark.parametrize("end", [b"", b',"result_id":"{"'])
def test_cut_does_not_depend_on_the_place(end: bytes) -> None:
    result = b'{"type":"succeeded","result":{"a":"\\udc00"}}'
    line = b'{"other":{"result":{"b":1}}, "result" : %s, "custom_id":"2_a"%s}' % (result, end)
    assert cut_result(line) == result


def test_bytes_that_are_no_text_leave_a_readable_file() -> None:
    outcome = outcome_of(b'{"type":"succeeded","message":{"content":[],"id":"\xff"}}')
    assert json.loads(data_of(outcome))["result"]["message"]["id"] == "\ufffd"


def test_result_that_cannot_be_cut_is_a_string() -> None:
    whole = outcome_of(b'{"type":"canceled"}')
    cut = Outcome(whole.row, "r1", "canceled", "", whole.answer, b'{"custom_id":"2_abcd')
    assert json.loads(data_of(cut))["result"] == {"type": "canceled", "raw": '{"custom_id":"2_abcd'}


def test_nul_and_surrogates_become_marks_in_csv() -> None:
    result = (
        b'{"type":"succeeded","message":{"content":[{"type":"text","text":"a\\u0000\\ud800b"}]}}'
    )
    row = Outcome(Row(2, reason="NUL", cells=["x\0y"]), "1", "left_out", "NUL")
    text = written(["note"], outcome_of(result, "n"), row)
    assert ",a\ufffd\ufffdb," in text
    assert "x\ufffdy,1,left_out" in text
