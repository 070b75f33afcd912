import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.planning import (
    ENVELOPE,
    LINE_OVERHEAD,
    MOST_BYTES,
    MOST_PARTS,
    MOST_REQUESTS,
    count_parts,
    distinct_sizes,
    even_sizes,
    fit_bytes,
    plan_parts,
)


def plan(rows, part_size=0):
    return plan_parts([100] * rows, part_size)


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [
        (1, [1]),
        (499, [499]),
        (500, [55, 54, 53, 52, 51, 49, 48, 47, 46, 45]),
        (2_000, [205, 204, 203, 202, 201, 199, 198, 197, 196, 195]),
    ],
)
def test_it_works(rows, sizes):
    assert plan(rows) == sizes


def test_sizes_differ_where_there_are_rows_enough():
    assert distinct_sizes(198, 4) == [51, 50, 49, 48]
    assert distinct_sizes(10, 4) == [4, 3, 2, 1]
    assert distinct_sizes(9, 4) == even_sizes(9, 4) == [3, 2, 2, 2]


def test_part_size_is_about_what_was_asked_for():
    assert plan(198, part_size=50) == [51, 50, 49, 48]
    assert plan(5, part_size=1) == [1] * 5
    assert plan(5, part_size=1_000) == [5]


def test_a_size_for_few_rows_does_not_make_endless_parts_of_many():
    assert len(plan(10_000, part_size=10)) == MOST_PARTS
    assert len(plan(1_000_000, part_size=10)) == MOST_PARTS
    assert count_parts(1_000_000, 100, part_size=1) == MOST_PARTS


def test_no_part_is_above_the_limit_of_requests():
    assert plan(200_000, part_size=10**9) == [MOST_REQUESTS] * 2
    assert max(plan(100_001, part_size=10**9)) <= MOST_REQUESTS


def test_a_part_is_closed_before_its_bytes_pass_the_limit():
    half = (MOST_BYTES - ENVELOPE) // 2
    assert fit_bytes([4], [half] * 4) == [2, 2]
    assert fit_bytes([4], [half, half, 2, half]) == [2, 2]
    assert fit_bytes([2], [half, half + 2]) == [1, 1]
    assert fit_bytes([1, 1], [half, half]) == [1, 1]


@given(st.integers(1, 3_000), st.integers(0, 400))
def test_every_row_goes_into_one_part(rows, part_size):
    sizes = plan(rows, part_size)
    assert sum(sizes) == rows
    assert min(sizes) >= 1
    longest = max(part_size, rows / MOST_PARTS) + len(sizes) if part_size else rows
    assert max(sizes) <= longest


@given(st.lists(st.integers(1, MOST_BYTES // 3), min_size=1, max_size=40))
def test_bytes_of_every_part_fit(lengths):
    sizes = fit_bytes([len(lengths)], lengths)
    assert sum(sizes) == len(lengths)
    start = 0
    for size in sizes:
        assert sum(lengths[start : start + size]) + ENVELOPE <= MOST_BYTES
        start += size


@pytest.mark.parametrize("rows", [1, 7, 499, 500, 9_997, 100_001])
@pytest.mark.parametrize("part_size", [0, 50, 1_000])
def test_parts_are_counted_without_planning_them(rows, part_size):
    lengths = [4_000 + LINE_OVERHEAD] * rows
    assert count_parts(rows, 4_000, part_size) == len(plan_parts(lengths, part_size))


def test_large_requests_make_more_parts():
    lengths = [30_000_000 + LINE_OVERHEAD] * 20
    assert count_parts(20, 30_000_000) == len(plan_parts(lengths)) == 3
