import pytest

from batches.models import MessageBatch
from batches.proof import Proof
from claude_api import split_lines
from tests.batches.stage import result_line

ROWS = {row: position for position, row in enumerate(range(2, 7))}


def prove(*lines, **counts):
    """What a file of these lines proves of a part of five rows, all of which succeeded."""
    part = MessageBatch(nonce="abcdefgh", part=1, **(counts or {"succeeded": 5}))
    proof = Proof(part, ROWS)
    proof.taken = [proof.take(line) for line in split_lines(lines)]
    return proof


def lines_of(*rows, kind="succeeded", text="yes"):
    return [result_line(f"{row}_abcdefgh", kind, text) for row in rows]


def test_it_works():
    lines = lines_of(4, 2, 6, 3, 5)
    proof = prove(*lines)
    assert proof.objections() == []
    assert proof.taken == [True] * 5
    whole = b"".join(lines)
    for row, place in proof.places.items():
        line = whole[place.offset : place.offset + place.length]
        assert line + b"\n" == result_line(f"{row}_abcdefgh")


def test_last_line_without_its_newline_counts():
    *lines, last = lines_of(2, 3, 4, 5, 6)
    assert prove(*lines, last.rstrip(b"\n")).objections() == []


def test_carriage_returns_and_blank_lines_do_not_matter():
    lines = [line.replace(b"\n", b"\r\n\r\n") for line in lines_of(2, 3, 4, 5, 6)]
    assert prove(b"\n", *lines).objections() == []


def test_missing_rows():
    assert prove(*lines_of(2, 3)).objections() == ["3 of 5 answers are missing"]
    assert prove().objections() == ["5 of 5 answers are missing"]


def test_same_line_twice_counts_once():
    proof = prove(*lines_of(2, 3, 4, 5, 6), *lines_of(3))
    assert proof.objections() == []
    assert proof.taken[-1] is False
    assert proof.types == {"succeeded": 5}


def test_two_answers_of_one_row_are_an_objection_and_the_first_is_kept():
    proof = prove(*lines_of(2, 3, 4, 5, 6), *lines_of(3, text="no"))
    assert proof.objections() == ["1 row has two different answers"]
    assert proof.places[3].offset == len(result_line("2_abcdefgh"))


@pytest.mark.parametrize(
    "custom_id",
    [
        "theirs-1",
        "2_otherone",
        "7_abcdefgh",
        "1_abcdefgh",
        "_abcdefgh",
        "²_abcdefgh",
        "2",
        "-2_abcdefgh",
        "2_abcdefgh_",
    ],
)
def test_line_that_is_not_ours(custom_id):
    proof = prove(*lines_of(2, 3, 4, 5, 6), result_line(custom_id))
    assert proof.objections() == ["1 line is not ours"]
    assert proof.taken[-1] is False


def test_unreadable_lines_are_numbered():
    bad = [
        b"<html>\n",
        b'{"custom_id": 7}\n',
        b'{"custom_id":"2_abcdefgh"}\n',
        b'{"custom_id":"2_a',
    ]
    proof = prove(*lines_of(2, 3, 4, 5, 6), *bad)
    assert proof.objections() == ["line 6, 7, 8, 9 cannot be read"]


def test_of_many_unreadable_lines_five_are_named():
    proof = prove(*lines_of(2, 3, 4, 5, 6), *[b"x\n"] * 6)
    assert proof.objections() == ["line 6, 7, 8, 9, 10 and others cannot be read"]


def test_line_that_only_the_tolerant_reader_can_read_counts():
    line = rb'{"custom_id":"2_abcdefgh","result":{"type":"succeeded","x":"\ud800"}}' + b"\n"
    assert prove(line, *lines_of(3, 4, 5, 6)).objections() == []


def test_counts_that_disagree_show_both_numbers():
    lines = [*lines_of(2, 3, 4), *lines_of(5, 6, kind="errored")]
    assert prove(*lines, succeeded=3, errored=2).objections() == []
    assert prove(*lines, succeeded=4, errored=1).objections() == [
        "3 succeeded where the API counts 4",
        "2 errored where the API counts 1",
    ]


def test_types_newer_than_this_program_have_no_count():
    lines = [*lines_of(2, 3, 4, 5), *lines_of(6, kind="deferred")]
    assert prove(*lines, succeeded=4).objections() == []
    # Where the counts of the types that are known add up without it, they disagree.
    assert prove(*lines, succeeded=5).objections() == ["4 succeeded where the API counts 5"]


def test_everything_is_said_at_once():
    lines = [*lines_of(2), *lines_of(2, text="no"), result_line("theirs"), b"x\n"]
    assert len(prove(*lines).objections()) == 4
