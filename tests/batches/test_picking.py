import pytest

from batches.archive import Row
from batches.picking import pick
from tests.batches.build import make_upload, table_rows

pytestmark = pytest.mark.django_db


def picked(rows: list[Row], wanted: str = "") -> tuple:
    upload = make_upload(["text"], rows)
    found = pick(upload.pk, 1, wanted)
    assert found is not None
    return found.row.number, found.before, found.after, found.instead_of


ROWS = table_rows(["middle"], ["the longest of all"], ["s"])


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("", (2, None, 3, None)),
        ("3", (3, 2, 4, None)),
        ("4", (4, 3, None, None)),
        ("longest", (3, 2, 4, None)),
        ("shortest", (4, 3, None, None)),
        ("1", (2, None, 3, 1)),
        ("99", (4, 3, None, 99)),
        ("9" * 5_000, (4, 3, None, 10**18 - 1)),
        ("x", (2, None, 3, None)),
        ("²", (2, None, 3, None)),
    ],
)
def test_a_row_is_found(wanted: str, found: tuple) -> None:
    assert picked(ROWS, wanted) == found


def test_blank_rows_keep_their_number() -> None:
    rows = [Row(2, cells=["a"]), Row(5, cells=["b"])]
    assert picked(rows, "3") == (5, 2, None, 3)


def test_a_row_that_is_left_out_is_shown_only_where_it_is_asked_for() -> None:
    rows = [Row(2, reason="Row 2: " + "broken " * 20), Row(3, cells=["a"]), Row(4, cells=["bc"])]
    assert picked(rows)[0] == 3
    assert picked(rows, "longest")[0] == 4
    assert picked(rows, "2")[0] == 2
    assert picked(rows[:1])[0] == 2, "there is no other"


def test_at_random_any_row_may_come() -> None:
    assert {picked(ROWS, "random")[0] for _ in range(60)} == {2, 3, 4}


def test_a_file_without_rows_has_none() -> None:
    upload = make_upload(["text"], [])
    assert pick(upload.pk, 1, "longest") is None
    assert pick(upload.pk, 1, "7") is None


def test_lengths_are_found_in_many_rows_from_the_index_alone() -> None:
    rows = table_rows(*(["x" * (number % 97)] for number in range(10_000)))
    upload = make_upload(["text"], rows)
    longest = pick(upload.pk, 1, "longest")
    assert longest is not None
    # The number is part of the line: of two as long, one further down has more digits.
    assert len(longest.row.cells[0]) in (95, 96)
    assert longest.row.number > 9_900 - 97
