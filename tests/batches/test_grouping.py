import itertools

import pytest

from batches.grouping import Group, advise, group_problems
from batches.models import Batch, MessageBatch
from batches.reading import read_page
from tests.batches.answers import (
    BUSY,
    CANCELED,
    CUT,
    EXPIRED,
    REFUSED,
    WRONG,
    add_part,
    answered,
    collect,
    make_batch,
)
from tests.batches.build import archive, make_run, make_upload, succeeded, table_rows

pytestmark = pytest.mark.django_db
LATER = {"type": "a_later_type"}
KINDS = [succeeded("yes"), CUT, REFUSED, BUSY, WRONG, EXPIRED, CANCELED, LATER]


def titles(groups: list[Group]) -> dict[str, int]:
    return {group.title: group.number for group in groups}


def test_rows_that_need_a_person_come_in_groups() -> None:
    kinds = [succeeded("yes"), CUT, CUT, REFUSED, BUSY, BUSY, BUSY, WRONG, EXPIRED, CANCELED, LATER]
    batch = answered(dict(enumerate(kinds, 2)))
    groups = group_problems(batch)
    assert titles(groups) == {
        "Ended as a_later_type": 1,
        "Errored: overloaded_error": 3,
        "Errored: invalid_request_error": 1,
        "Expired": 1,
        "Canceled": 1,
        "Succeeded, but cut off at max_tokens": 2,
        "Refused": 1,
    }
    errors = {group.title: group for group in groups}
    assert errors["Errored: overloaded_error"].advice.text == "Safe to send again; not billed."
    assert errors["Errored: invalid_request_error"].advice.mend
    assert errors["Errored: overloaded_error"].examples[0].text == "Overloaded"


def test_each_group_finds_its_rows_among_the_results() -> None:
    batch = answered(dict(enumerate(KINDS, 2)))
    for group in group_problems(batch):
        assert group.chosen is not None
        found = [result.row for result in read_page(batch, group.chosen, 0).results]
        assert len(found) == group.number
        assert group.examples[0].row == found[0]


@pytest.mark.parametrize("size", [1, 2, len(KINDS)])
def test_the_groups_add_up_to_the_tab(size: int) -> None:
    for number, kinds in enumerate(itertools.combinations(KINDS, size)):
        batch = answered(dict(enumerate(kinds, 2)), rows=20)
        unsent = range(12, 12 + number % 3)
        if unsent:
            add_part(batch, unsent, state="rejected", reason="The API refused it (403).")
        batch.left_out = number % 4
        batch.recount()
        groups = group_problems(batch)
        assert sum(group.number for group in groups) == batch.problem_count
        assert batch.problem_count == (
            batch.left_out + batch.not_sent + batch.not_succeeded + batch.worth_a_look
        )
        assert batch.sent == batch.succeeded + batch.not_succeeded + batch.waiting


def test_an_answer_in_another_format_is_a_problem() -> None:
    recipe = {"prompt": "{{text}}", "output_format": {"type": "object", "required": ["label"]}}
    fitting, prose = succeeded('{"label": "good"}'), succeeded("It is good.")
    batch = answered({2: fitting, 3: prose, 4: fitting}, recipe=recipe)
    assert titles(group_problems(batch)) == {"Answer does not fit the output format": 1}


def test_left_out_rows_say_why_those_of_the_file_and_those_of_the_recipe() -> None:
    broken = archive.Row(3, reason="Row 3: 6 cells, the header has 5.")
    rows = table_rows(["a"], ["b"], ["c"])
    upload = make_upload(["text"], [rows[0], broken, rows[2]])
    upload.problems = {
        "total": 1,
        "first": [{"row": 3, "what": "6 cells", "column": "", "fix": ""}],
    }
    upload.save()
    batch = Batch.objects.create(workspace=upload.workspace, upload=upload, name="x", left_out=2)
    make_run(batch, {4: "Row 4, column `text`: it is empty."})
    (group,) = group_problems(batch)
    assert [(one.row, one.text) for one in group.examples] == [
        (3, ": 6 cells, the header has 5."),
        (4, ", column `text`: it is empty."),
    ]


def test_parts_that_never_left_are_said_once_for_each_reason() -> None:
    batch = make_batch(9)
    for rows in ((2, 3), (4, 5), (6, 7)):
        add_part(batch, rows, state="dropped", reason="Canceled by Mei.")
    add_part(batch, (8, 9), state="rejected", reason="The API refused part 4 (403).")
    first, second = group_problems(batch)
    assert (first.number, first.advice.text) == (
        6,
        "Not billed. Parts 1, 2 and 3: Canceled by Mei.",
    )
    assert (second.number, second.advice.text) == (2, "Not billed. The API refused part 4 (403).")
    assert first.examples[0].row == 2


def test_rows_that_were_sent_after_all_are_no_problem() -> None:
    batch = make_batch(4)
    dropped = add_part(batch, (2, 3), state="dropped", reason="Canceled by Mei.")
    again = add_part(batch, (2, 3), make_run(batch), replaces=dropped)
    collect(again, {2: succeeded("x"), 3: succeeded("y")})
    batch.refresh_from_db()
    assert group_problems(batch) == []
    assert MessageBatch.objects.count() == 2


def test_an_answer_as_it_should_be_needs_no_advice() -> None:
    assert advise("succeeded", None) is None
    for kind, concern in (("errored", "new_error"), ("missing", None), ("later", "later")):
        advice = advise(kind, concern)
        assert advice is not None
        assert advice.text
