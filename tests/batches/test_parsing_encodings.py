"""Encodings: marks, UTF-8 over the whole file, and a choice where it is neither."""

import codecs

import pytest

from tests.batches.reading import read

TEXT = "id,text\n1,café 日本 €\n"


def test_utf8_needs_no_mark() -> None:
    table = read(TEXT.encode())
    assert (table.encoding, table.cells) == ("utf-8", [["1", "café 日本 €"]])


def test_a_mark_before_a_quoted_header() -> None:
    table = read(codecs.BOM_UTF8 + b'"prompt","id"\na,1\n')
    assert (table.encoding, table.columns) == ("utf-8", ["prompt", "id"])


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
    ],
)
def test_a_mark_names_the_encoding(mark: bytes, encoding: str) -> None:
    table = read(mark + TEXT.encode(encoding))
    assert table.encoding == encoding[:6]
    assert (table.columns, table.cells) == (["id", "text"], [["1", "café 日本 €"]])


def test_a_mark_is_stronger_than_a_choice() -> None:
    assert read(codecs.BOM_UTF8 + TEXT.encode(), encoding="cp1252").encoding == "utf-8"


@pytest.mark.parametrize(("encoding", "offset"), [("utf-16-le", 1), ("utf-16-be", 0)])
def test_utf16_without_a_mark_is_refused_and_read_when_chosen(encoding: str, offset: int) -> None:
    data = "id,text\n1,a\n".encode(encoding)
    refused = read(data).refused[0]
    assert refused.startswith(f"Not UTF-8 text: byte 0x00 at offset {offset}.")
    assert encoding in refused
    assert read(data, encoding=encoding).cells == [["1", "a"]]


def test_windows_1252_is_proposed_with_its_reading() -> None:
    assert read(b"id,name\n1,Ann\n2,Ren\xe9e Zoe\n").refused == [
        "Row 3, column `name`: byte 0xE9 is not UTF-8. In Windows-1252 it reads `Renée`. "
        "If that is right, choose Windows-1252 (`cp1252`). If not, save the file as UTF-8."
    ]


def test_the_row_is_that_of_a_spreadsheet() -> None:
    data = b'id;name\n1;"a\nb"\n\n2;"c\nd\x80"\n'
    assert read(data).refused[0].startswith("Row 4, column `name`: byte 0x80")


def test_a_bad_byte_in_the_header_is_placed_by_number() -> None:
    assert read(b"id,pr\xe9nom\n1,a\n").refused[0].startswith("Row 1, column 2: byte 0xE9")


def test_a_bad_byte_beyond_the_first_chunk() -> None:
    data = b"id,text\n" + b"1,abcdef\n" * 200_000 + b"2,\xfc\n"
    assert read(data).refused[0].startswith("Row 200,002, column `text`: byte 0xFC")


def test_a_character_cut_at_the_end_of_the_file() -> None:
    assert read("id,text\n1,€".encode()[:-1]).refused[0].startswith("Row 2, column `text`: byte")


def test_a_character_across_two_chunks_is_whole() -> None:
    data = b"id,text\n1,x\n" + "2,é\n".encode() * 60_000 + "x,日本\n".encode() * 60_000
    table = read(data)
    assert {row.cells[1] for row in table.rows} == {"x", "é", "日本"}


def test_bytes_that_windows_1252_has_not_are_not_proposed() -> None:
    refused = read(b"id,text\n1,\x81\n").refused[0]
    assert "Windows-1252" not in refused
    assert "byte 0x81 is not UTF-8" in refused


def test_a_single_nul_is_a_problem_of_its_row() -> None:
    assert read(b"id,text\n1,some\0words\n").problems == [
        "Row 2, column `text`: NUL character at position 5. Delete that character."
    ]


def test_a_chosen_encoding_that_does_not_fit() -> None:
    assert (
        "byte 0x81 is not Windows-1252" in read(b"id,text\n1,\x81\n", encoding="cp1252").refused[0]
    )
    assert "is not UTF-16." in read(b"id,text\n1,\x81", encoding="utf-16-le").refused[0]


def test_a_bad_byte_in_a_line_of_json() -> None:
    refused = read(b'{"custom_id":"a"}\n{"custom_id":"caf\xe9"}\n', "rows.jsonl").refused[0]
    assert refused.startswith("Line 2: byte 0xE9 is not UTF-8. In Windows-1252 it reads `café`.")


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("windows-1252", "cp1252"),
        ("CP1252", "cp1252"),
        ("latin-1", "iso8859-1"),
        ("utf8", "utf-8"),
        ("shift_jis", "shift-jis"),
        ("gb18030", "gb18030"),
    ],
)
def test_encodings_have_many_names(name: str, canonical: str) -> None:
    table = read(b"id,text\n1,a\n", encoding=name)
    assert (table.encoding, table.cells) == (canonical, [["1", "a"]])


@pytest.mark.parametrize("name", ["klingon", "base64", "idna", "unicode_escape", "a\0b", "utf-7"])
def test_what_is_no_encoding_of_files_is_refused(name: str) -> None:
    assert "is not an encoding that files are read in" in read(b"a\n1\n", encoding=name).refused[0]


def test_japanese_in_its_own_encoding() -> None:
    data = "番号,名前\n1,日本\n".encode("shift_jis")
    assert read(data, encoding="shift_jis").cells == [["1", "日本"]]
