"""What a file is, whatever it is called."""

import gzip
import io
import zipfile

import pytest

from tests.batches.reading import read

REQUEST = (
    '{"custom_id":"a","params":{"model":"m","max_tokens":1,'
    '"messages":[{"role":"user","content":"hi"}]}}\n'
)


def workbook(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "<x/>")
    return file.getvalue()


@pytest.mark.parametrize("name", ["[Content_Types].xml", "docProps/app.xml", "xl/workbook.xml"])
def test_a_workbook_names_the_way_out(name: str) -> None:
    assert read(workbook(name, "_rels/.rels")).refused == [
        "This is an Excel workbook named .csv. In Excel: File › Save as › CSV UTF-8."
    ]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (workbook("a.txt"), "a zip archive named .csv. Unpack it"),
        (b"PK\x03\x04mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "an OpenDocument"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 512, "an old or a password-protected Excel"),
        (gzip.compress(b"id,text\n1,a\n", mtime=0), "a gzip file named .csv. Unpack it"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF named .csv."),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG image"),
        (b"<!DOCTYPE html>\n<html>", "a web page or XML"),
        (b"SQLite format 3\0" + b"\0" * 84, "an SQLite database"),
    ],
)
def test_other_formats_are_recognised(data: bytes, what: str) -> None:
    assert read(data).refused[0].startswith(f"This is {what}")


def test_json_lines_named_csv_are_requests() -> None:
    found = read(REQUEST.encode(), "rows.csv")
    assert (found.kind, found.rows[0].own_id, found.problems) == ("requests", "a", [])


def test_a_table_named_jsonl_is_a_table() -> None:
    assert read(b"id,text\n1,a\n", "rows.jsonl").kind == "table"


def test_a_broken_first_line_leaves_json_lines_what_they_are() -> None:
    found = read(b"oops\n" + REQUEST.encode(), "rows.jsonl")
    assert found.kind == "requests"
    assert found.problems == ["Row 1: column 1: expected a value."]


def test_lines_of_json_that_are_no_objects_are_named_as_such() -> None:
    found = read(b"[1]\n[2]\n", "rows.jsonl")
    assert found.rows[1].reason.startswith("Line 2: expected an object, found an array.")


@pytest.mark.parametrize("header", ["[id],{text}\n1,a\n", '"{",b\n1,2\n'])
def test_brackets_in_a_header_are_no_json(header: str) -> None:
    assert read(header.encode()).kind == "table"


@pytest.mark.parametrize(
    "data",
    [f"[{REQUEST}]", f"[\n  {REQUEST},\n  {REQUEST}]", f"[{REQUEST.strip()},\n{REQUEST}]", "[]"],
)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
def test_a_json_array_is_not_lines(data: str, name: str) -> None:
    refused = read(data.encode(), name).refused[0]
    assert refused.startswith("This is one JSON array, not JSON lines.")
    assert "jq -c '.[]'" in refused


@pytest.mark.parametrize(
    "data", [b'{\n  "custom_id": "a"\n}\n', b'{"custom_id": "a",\n "params": 1}']
)
def test_pretty_printed_json_is_not_lines(data: bytes) -> None:
    assert read(data, "rows.jsonl").refused[0].startswith("Line 1 is not complete JSON.")


def test_an_openai_batch_file() -> None:
    data = b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{}}\n'
    refused = read(data, "rows.jsonl").refused[0]
    assert refused.startswith("This is an OpenAI batch file.")
    assert '"params"' in refused


def data_lines(number: int) -> bytes:
    return b"".join(b'{"id": %d, "review": "It broke."}\n' % one for one in range(number))


@pytest.mark.parametrize("name", ["reviews.jsonl", "reviews.csv"])
@pytest.mark.parametrize("number", [1, 99, 5_000])
def test_lines_of_data_are_refused_as_a_whole(name: str, number: int) -> None:
    assert read(data_lines(number), name).refused == [
        "These are lines of data, not requests. "
        'Save it as CSV, or write each line as `{"custom_id": …, "params": …}`.'
    ]


def test_lines_of_data_below_a_broken_one() -> None:
    refused = read(b"oops\n" + data_lines(30), "reviews.jsonl").refused
    assert refused[0].startswith("These are lines of data")


def test_some_lines_of_data_among_requests_are_problems_of_their_lines() -> None:
    found = read(data_lines(18) + REQUEST.encode() * 2, "rows.jsonl")
    assert (found.kind, found.refused, len(found.rows)) == ("requests", [], 20)
    assert found.problems[0] == "Row 1: custom_id is missing. Give each line its own."


def test_lines_of_params_are_requests_that_lack_their_frame() -> None:
    found = read(b'{"model":"m","max_tokens":1,"messages":[]}\n' * 5, "rows.jsonl")
    assert "without its frame" in found.problems[0]
