"""Tables: delimiters, quotes, row numbers, and what is wrong with rows and headers."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.batches.reading import read


def test_reads_a_table() -> None:
    table = read(b"id,text\n1,good\n2,bad\n")
    assert (table.kind, table.encoding, table.delimiter) == ("table", "utf-8", ",")
    assert table.columns == ["id", "text"]
    assert table.cells == [["1", "good"], ["2", "bad"]]
    assert not table.problems


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter: str) -> None:
    rows = [["id", "name", "text"], ["1", "a", "x, y; z | w\t!"], ["2", "b", "one\ntwo"]]
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter).writerows(rows)
    table = read(file.getvalue().encode())
    assert (table.delimiter, table.cells) == (delimiter, rows[1:])


def test_newlines_in_quotes_and_a_cut_record_do_not_mislead() -> None:
    text = '"' + "a; b; c\nd, e\n" * 40 + '"'
    data = "id;text\n" + "".join(f"{number};{text}\n" for number in range(200))
    table = read(data.encode())
    assert (table.delimiter, len(table.rows), table.problems) == (";", 200, [])


def test_a_first_record_above_the_sample() -> None:
    table = read(b"id,text\n1," + b"x" * 200_000 + b"\n")
    assert (table.columns, len(table.cells[0][1])) == (["id", "text"], 200_000)


def test_one_column_is_a_table() -> None:
    table = read(b'prompt\nHello, you\nplain\n"quoted, too"\n')
    assert table.columns == ["prompt"]
    assert table.cells == [["Hello, you"], ["plain"], ["quoted, too"]]


def test_a_delimiter_that_cannot_be_one_is_refused() -> None:
    assert "cannot separate cells" in read(b"a,b\n1,2\n", delimiter="a").refused[0]


def test_every_line_end_is_one_and_quotes_hold_them() -> None:
    table = read(b'id,text\r\n1,"a\r\nb"\n2,c\r3,d')
    assert table.cells == [["1", "a\r\nb"], ["2", "c"], ["3", "d"]]
    assert [row.number for row in table.rows] == [2, 3, 4]


def test_blank_rows_keep_their_number_and_are_no_rows() -> None:
    table = read(b"\nid,text\n\n1,a\n,\n , \n2,b\n")
    assert [(row.number, row.cells) for row in table.rows] == [(4, ["1", "a"]), (7, ["2", "b"])]


def test_formulas_and_braces_are_text() -> None:
    assert read(b"id,text\n=1+1,{{id}}\n").cells == [["=1+1", "{{id}}"]]


def test_header_names_are_stripped() -> None:
    assert read("id , 名 前\n1,a\n".encode()).columns == ["id", "名 前"]


def test_an_extra_cell() -> None:
    table = read(b"id,text\n1,a\n2,b,x\n3,c,,\n")
    assert table.problems == [
        "Row 3: 3 cells, the header has 2. An extra one is `x`. "
        "Look for a comma in a cell without quotes."
    ]
    assert table.cells == [["1", "a"], ["2", "b"], ["3", "c"]]


def test_missing_cells_and_the_line_of_the_file() -> None:
    table = read(b'id,text,stars\n1,"a\nb",5\n2\n')
    assert table.problems == [
        "Row 3: 1 of 3 cells; without one: `text`, `stars`. Fill the row up, or look for a line "
        "break inside a cell without quotes. It begins on line 4 of the file."
    ]
    assert table.cells[1] == ["2", "", ""]
    assert table.rows[1].reason == table.problems[0]


def test_every_problem_of_every_row_is_told() -> None:
    table = read(b"id,text\n1,a\0b\n2\n3\0,c,d\n")
    assert [problem.split(":")[0] for problem in table.problems] == [
        "Row 2, column `text`",
        "Row 3",
        "Row 4",
        "Row 4, column `id`",
    ]
    assert "NUL character at position 2." in table.problems[0]


def test_a_quote_inside_a_quoted_cell() -> None:
    table = read(b'id,text\n1,"He said "hi" twice"\n2,b\n')
    assert "Row 2: text follows the quote that closes a cell." in table.problems[0]
    assert '`""`' in table.problems[0]
    assert [row.number for row in table.rows if not row.reason] == [3]


@pytest.mark.parametrize(
    "data",
    [
        b'id,text\n1,a\n2,"open\n3,c\n',
        b'id,text\n1,a\n2,"open\n3,"c"\n4,d\n',
        b'id,text\n1,a\n2,"open',
    ],
)
def test_a_quote_that_is_never_closed_names_its_row(data: bytes) -> None:
    assert "Quote opened in row 3 is never closed" in read(data).refused[0]


def test_a_cell_above_a_megabyte() -> None:
    table = read(b"id,text\n1," + b"x" * 3_200_000 + b"\n2,b\n")
    assert table.problems == [
        "Row 2, column `text`: 3.2 MB, the limit is 1 MB per cell. Shorten it."
    ]
    assert table.cells[1] == ["2", "b"]


def test_a_quote_that_swallows_megabytes_ends_the_reading() -> None:
    data = b'id,text\n1,"a\nb"\n2,"open\n' + b"3,some words of a review\n" * 700_000
    assert read(data).refused == [
        "Row 3 (line 4 of the file) has a cell above 16 MB, or a quote opened there is never "
        "closed. Shorten the cell or close the quote."
    ]


def test_a_cell_of_a_megabyte_in_two_bytes_each() -> None:
    assert read(b"id,text\n1," + "é".encode() * 500_000 + b"\n").problems == []
    assert read(b"id,text\n1," + "é".encode() * 500_001 + b"\n").problems


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "File is empty."),
        (b"\xef\xbb\xbf\r\n \n", "File is empty."),
        (b"id,text\n", "No data rows; found the header: `id`, `text`."),
        (b"id,text\n\n,\n", "No data rows; found the header: `id`, `text`."),
        (b"id,,text\n1,2,3\n", "Column 2 has no name."),
        (b"id, ,text\n1,2,3\n", "Column 2 has no name."),
        (b"id,a,id\n1,2,3\n", "Column `id` appears twice (1 and 3)."),
        (b"a,a,a\n1,2,3\n", "Column `a` appears 3 times (1, 2 and 3)."),
        (b"a,b\0\n1,2\n", "Column 2 has in its name a NUL character at position 2."),
        (b",".join(b"c%d" % n for n in range(20_000)) + b"\n1\n", "20,000 columns, the limit"),
        (b"a,b" + b"x" * 2_000 + b"\n1,2\n", "Column 2 has a name of 2,001 characters"),
    ],
)
def test_a_file_without_a_sound_header_is_refused(data: bytes, sentence: str) -> None:
    assert read(data).refused[0].startswith(sentence)


def test_all_problems_of_the_header_are_told() -> None:
    assert len(read(b"a,a,,b\n1,2,3,4\n").refused) == 2


def test_without_a_header_the_first_row_is_data() -> None:
    table = read(b"\n1,caf\xc3\xa9\n2,b,c\n", has_header=False)
    assert table.columns == ["Column 1", "Column 2"]
    assert [(row.number, row.cells) for row in table.rows] == [(2, ["1", "café"]), (3, ["2", "b"])]
    assert len(table.problems) == 1
    assert table.problems[0].startswith("Row 3: 3 cells, the first row has 2. An extra one is `c`.")


def test_one_row_without_a_header_is_a_table() -> None:
    assert read(b"a,a,\n", has_header=False).cells == [["a", "a", ""]]
    assert read(b"a,a,\n").refused


texts = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\ufeff", exclude_categories=["Cs"]),
    max_size=12,
)
cp1252 = st.text(st.sampled_from("aZ9 é€ü,;\t|\"'\n\r{}="), max_size=12)


def table_bytes(rows: list[list[str]], delimiter: str, encoding: str) -> bytes:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    return file.getvalue().encode(encoding)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(texts, texts), min_size=1, max_size=8),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_csv_writes_is_read(
    rows: list[tuple[str, str]], delimiter: str, encoding: str
) -> None:
    written = [[str(number), *row] for number, row in enumerate(rows)]
    data = table_bytes([["id", "a b", "文"], *written], delimiter, encoding)
    table = read(data)
    assert table.cells == written
    assert table.columns == ["id", "a b", "文"]
    assert table.problems == []
    assert [row.number for row in table.rows] == list(range(2, len(rows) + 2))


@settings(max_examples=40, deadline=None)
@given(st.lists(cp1252, min_size=1, max_size=8), st.sampled_from([",", ";", "\t", "|"]))
def test_what_csv_writes_in_windows_1252_is_read(cells: list[str], delimiter: str) -> None:
    written = [[str(number), cell] for number, cell in enumerate(cells)]
    data = table_bytes([["id", "text"], *written], delimiter, "cp1252")
    assert read(data, encoding="cp1252").cells == written


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;", "\ufeffsep=;"])
def test_a_first_line_that_names_the_delimiter_is_no_row(first: str) -> None:
    found = read(f"{first}\r\nid,a;text\r\n1,5;x,y\r\n2,5;z\r\n".encode())
    assert (found.delimiter, found.columns) == (";", ["id,a", "text"])
    assert [(row.number, row.cells) for row in found.rows] == [
        (2, ["1,5", "x,y"]),
        (3, ["2,5", "z"]),
    ]


def test_it_is_no_row_without_a_header_and_with_another_delimiter_chosen() -> None:
    assert read(b"sep=\t\n1\tx\n", has_header=False).cells == [["1", "x"]]
    assert read(b"sep=;\nid,text\n1,x\n", delimiter=",").columns == ["id", "text"]


def test_lines_of_the_file_are_counted_with_it() -> None:
    found = read(b"sep=;\nid;text\n1;x;y\n")
    assert found.problems[0].startswith("Row 2: 3 cells")
    assert found.problems[0].endswith("It begins on line 3 of the file.")
    open_quote = read(b'sep=;\nid;text\n1;"x\n').refused[0]
    assert open_quote.startswith("Quote opened in row 2 (line 3 of the file) is never closed")


@pytest.mark.parametrize("header", ["sep=;x", "sep=", "sep=a", "a;sep=;"])
def test_what_only_looks_like_it_is_a_header(header: str) -> None:
    assert read(f"{header},b\n1,2\n".encode(), delimiter=",").columns == [header, "b"]
