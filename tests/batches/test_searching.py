import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches import archive
from batches.models import MessageBatch
from batches.reading import Filter
from batches.searching import Found, Needle, search, words_of
from claude_api import read_answer
from tests.batches.answers import BUSY, CUT, EXPIRED, add_part, answered, collect, make_batch
from tests.batches.build import succeeded

needs_database = pytest.mark.django_db


def rows_of(found: Found) -> list[int]:
    return [result.row for result in found.results]


@needs_database
def test_it_finds_text_in_answers_in_the_order_of_the_file() -> None:
    answers = {row: succeeded("a plain answer") for row in range(2, 12)}
    answers[9] = answers[4] = succeeded("here is the Needle.")
    found = search(answered(answers), Filter(), "needle", 0)
    assert rows_of(found) == [4, 9]
    assert (found.first, found.last, found.next) == (2, 11, None)


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("It is Good", "is good"),
        ("one\n\n  two", "one two"),
        ('she said "no"', '"no"'),
        ("C:\\temp/x", "c:\\TEMP/x"),
        ("Müller & Söhne", "müller"),
        ("电池很好", "很好"),
        ("a\tb", "a b"),
        ("🙂 ok", "🙂"),
        ("20 \u212a", "20 k"),
    ],
)
@pytest.mark.parametrize("ascii", [True, False])
def test_it_finds_what_a_person_sees(said: str, asked: str, ascii: bool) -> None:
    line = line_of(said, ascii)
    needle = Needle(asked)
    assert needle.may_be_in(line)
    assert needle.is_in(words_of(read_answer(line)))


def line_of(said: str, ascii: bool = False) -> bytes:
    value = {"custom_id": "2_a", "result": succeeded(said)}
    return json.dumps(value, ensure_ascii=ascii).encode(errors="replace")


@given(
    st.text(alphabet='ab"\\/\n \t\x7fÄäßſİK电é🙂', max_size=12),
    st.booleans(),
    st.integers(0, 11),
    st.integers(1, 6),
)
def test_the_quick_look_never_denies_what_is_there(
    said: str, ascii: bool, start: int, length: int
) -> None:
    line, needle = line_of(said, ascii), Needle(said[start : start + length])
    if needle.is_in(words_of(read_answer(line))):
        assert needle.may_be_in(line)


def test_the_quick_look_spares_most_lines() -> None:
    assert not Needle("needle").may_be_in(line_of("hay"))
    assert not Needle("很好").may_be_in(line_of("不好"))


@needs_database
@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ("R-3", [3]),
        ("overloaded", [3]),
        ("save_label", [5]),
        ("half an", [4]),
        ("r-6", [6]),
    ],
)
def test_ids_errors_and_tool_calls_are_looked_at_too(asked: str, rows: list[int]) -> None:
    call: dict[str, Any] = {"type": "tool_use", "id": "t", "name": "save_label", "input": {}}
    called = succeeded(content=[{"type": "text", "text": "so"}, call], stop_reason="tool_use")
    batch = answered({2: succeeded("x"), 3: BUSY, 4: CUT, 5: called, 6: EXPIRED})
    assert rows_of(search(batch, Filter(), asked, 0)) == rows


@needs_database
def test_a_filter_narrows_the_search() -> None:
    batch = answered({2: succeeded("half an answer"), 3: CUT})
    assert rows_of(search(batch, Filter(stop="max_tokens"), "half", 0)) == [3]


@needs_database
def test_a_page_of_finds_says_where_to_go_on() -> None:
    batch = answered({row: succeeded("yes") for row in range(2, 12)})
    first = search(batch, Filter(), "yes", 0, size=4)
    assert (rows_of(first), first.next) == ([2, 3, 4, 5], 6)
    last = search(batch, Filter(), "yes", 10, size=4)
    assert (rows_of(last), last.next) == ([10, 11], None)


@needs_database
def test_when_the_time_is_up_it_has_looked_at_one_row_at_least() -> None:
    batch = answered({row: succeeded("no") for row in range(2, 12)})
    found = search(batch, Filter(), "yes", 0, seconds=-1)
    assert (found.results, found.first, found.last, found.next) == ([], 2, 2, 3)


@needs_database
def test_it_looks_into_every_part_and_past_what_is_gone() -> None:
    batch = make_batch(6)
    for rows in ((2, 3), (4, 5), (6, 7)):
        part = add_part(batch, rows)
        collect(part, {row: succeeded("yes") for row in rows})
    gone = MessageBatch.objects.order_by("pk")[1]
    archive.results(gone.pk, gone.results_fence).unlink()
    assert rows_of(search(batch, Filter(), "yes", 0)) == [2, 3, 6, 7]


@needs_database
def test_lines_that_nobody_can_read_hold_nothing() -> None:
    odd = b'{"type":"succeeded","message":{"content":[{"type":"text","text":"\xff\\ud800 yes"}]}}'
    batch = answered({2: odd, 3: succeeded("yes")})
    assert rows_of(search(batch, Filter(), "yes", 0)) == [2, 3]
    assert rows_of(search(batch, Filter(), "x" * 10_000, 0)) == []


def test_tool_input_is_searched_as_it_stands() -> None:
    block = {"type": "tool_use", "name": "f", "input": {"a": "好"}}
    line = msgspec.json.encode({"custom_id": "2_a", "result": succeeded(content=[block])})
    assert Needle('"a":"好"').is_in(words_of(read_answer(line)))
