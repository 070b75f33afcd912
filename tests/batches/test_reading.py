import pytest
from django.db import connection

from batches.models import Batch, Result
from batches.reading import (
    LAST_ROW,
    Filter,
    Page,
    iterate_places,
    read_page,
    read_row_number,
)
from tests.batches.answers import BUSY, CANCELED, CUT, EXPIRED, REFUSED, WRONG, answered, make_batch
from tests.batches.build import make_part, make_run, succeeded

pytestmark = pytest.mark.django_db
MIXED = {
    2: succeeded("yes"),
    3: BUSY,
    4: CUT,
    5: EXPIRED,
    6: succeeded("no"),
    7: WRONG,
    8: {"type": "a_later_type"},
    9: REFUSED,
    10: CANCELED,
}


def rows_of(page: Page) -> list[int]:
    return [result.row for result in page.results]


def test_all_answers_come_in_the_order_of_the_file() -> None:
    batch = answered(MIXED)
    assert rows_of(read_page(batch, Filter(), 0)) == list(MIXED)


@pytest.mark.parametrize(
    ("chosen", "rows"),
    [
        (Filter(type="succeeded"), [2, 4, 6, 9]),
        (Filter(type="errored"), [3, 7, 8]),  # as the counters have it
        (Filter(type="expired"), [5]),
        (Filter(type="a_later_type"), [8]),
        (Filter(type="nonsense"), []),
        (Filter(stop="max_tokens"), [4]),
        (Filter(stop="end_turn"), [2, 6]),
        (Filter(error="overloaded_error"), [3]),
        (Filter(error="a_later_type"), [8]),
    ],
)
def test_a_filter_shows_as_many_as_its_counter_says(chosen: Filter, rows: list[int]) -> None:
    batch = answered(MIXED)
    assert rows_of(read_page(batch, chosen, 0)) == rows
    if chosen.stop != "end_turn":  # nobody counts what nobody needs to look at
        assert chosen.count(batch) == len(rows)


def test_pages_lead_on_and_back() -> None:
    batch = answered({row: succeeded() if row % 3 else BUSY for row in range(2, 27)})
    first = read_page(batch, Filter(), 0, size=10)
    assert (rows_of(first)[0], first.previous, first.next, first.last) == (2, None, 12, 17)
    assert first.is_first
    second = read_page(batch, Filter(), first.next or 0, size=10)
    assert (rows_of(second), second.previous, second.next) == (list(range(12, 22)), 2, 22)
    last = read_page(batch, Filter(), first.last or 0, size=10)
    assert (rows_of(last), last.previous, last.next) == (list(range(17, 27)), 7, None)
    between = read_page(batch, Filter(type="errored"), 7, size=3)
    assert (rows_of(between), between.previous, between.next) == ([9, 12, 15], 3, 18)


def test_behind_the_end_there_is_a_way_back() -> None:
    page = read_page(answered({2: BUSY, 3: BUSY}), Filter(), 900)
    assert (page.results, page.previous, page.next) == ([], 2, None)


def test_a_row_that_was_sent_again_is_shown_once() -> None:
    batch = answered({2: BUSY, 3: CUT})
    Result.objects.filter(row=2).update(retried_in=batch.runs.get())
    assert rows_of(read_page(batch, Filter(), 0)) == [3]


def test_places_are_walked_in_chunks() -> None:
    places = iterate_places(answered(MIXED), Filter(), 4, chunk=2)
    assert [place.row for place in places] == list(range(4, 11))


@pytest.mark.parametrize(
    ("text", "number"),
    [("12", 12), (" 1,207 ", 1207), ("9" * 40, LAST_ROW), ("-1", None), ("x", None), (None, None)],
)
def test_a_row_number_is_what_a_person_types(text: str | None, number: int | None) -> None:
    assert read_row_number(text) == number


def test_the_narrowest_filter_counts() -> None:
    assert Filter.read({"type": "errored", "error": "api_error"}) == Filter(error="api_error")
    assert Filter.read({"stop": "refusal\x00"}) == Filter(stop="refusal")
    assert Filter.read({"stop": "x" * 99}).query == "stop=" + "x" * 60


def plan_of(batch: Batch, chosen: Filter) -> str:
    with connection.cursor() as cursor:
        query = chosen.branches(batch)[0].filter(row__gte=2)[:50].query
        sql, parameters = query.sql_with_params()
        explain = "EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN "
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(explain + sql, parameters)
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


@pytest.mark.both_databases
def test_each_filter_reads_its_index_in_the_order_of_the_rows() -> None:
    batch = make_batch()
    part = make_part(make_run(batch), range(2, 7))
    Result.objects.bulk_create(
        Result(request_id=pk, batch=batch, row=row, type="succeeded")
        for row, pk in enumerate(part.request_ids(), 2)
    )
    by_type, by_concern = (
        plan_of(batch, chosen) for chosen in (Filter(type="succeeded"), Filter(stop="refusal"))
    )
    assert "result_batch_type_row" in by_type
    assert "result_batch_concern_row" in by_concern
    for plan in (by_type, by_concern):
        assert "TEMP B-TREE" not in plan
        assert "Sort" not in plan
