import msgspec
import pytest

from batches import archive


def write(path, content):
    with archive.writing(path) as file:
        file.write(content)


def test_it_works():
    path = archive.results(7, 3)
    write(path, b"one\ntwo\n")
    assert path.read_bytes() == b"one\ntwo\n"
    assert archive.read_slice(path, 4, 3) == b"two"
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_file_exists_only_when_it_is_whole():
    path = archive.requests(7, 1)
    with archive.writing(path) as file:
        file.write(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"


def test_failed_writing_leaves_what_was_there():
    path = archive.requests(7, 1)
    write(path, b"old")
    with pytest.raises(TypeError), archive.writing(path) as file:
        file.writelines([b"new", "no bytes"])
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_claims_write_beside_each_other_and_only_older_ones_go():
    paths = [archive.results(7, fence) for fence in (2, 9, 10, 11)]
    for path in [*paths, archive.requests(7, 1), archive.created(7)]:
        write(path, b"x")
    archive.remove_older(paths[2])
    names = sorted(path.name for path in paths[0].parent.iterdir())
    assert names == ["created.json", "requests-1.jsonl", "results-10.jsonl", "results-11.jsonl"]


@pytest.fixture
def upload():
    """Upload 5 whose rows have gaps, as blank rows leave them."""
    numbers = [2, 3, 5, 9, 200_000]
    with (
        archive.writing(archive.rows(5, 1)) as file,
        archive.writing(archive.rows_index(5, 1)) as index,
    ):
        for number in numbers:
            index.write(archive.INDEX_ENTRY.pack(number, file.tell()))
            row = archive.Row(number, cells=[f"cell {number}\u2028"])
            file.write(msgspec.json.encode(row) + b"\n")
    return numbers


def test_rows_come_in_the_order_of_the_file(upload):
    rows = list(archive.iterate_rows(5, 1))
    assert [row.number for row in rows] == upload
    assert rows[0].cells == ["cell 2\u2028"]


def test_row_by_its_number(upload):
    found = [archive.read_row(5, 1, number) for number in upload]
    assert [row.number for row in found if row] == upload
    for number in (0, 1, 4, 10, 10**9):
        assert archive.read_row(5, 1, number) is None


def test_rows_that_were_left_out():
    write(archive.left_out(3, 1), msgspec.json.encode(archive.LeftOut(4, "empty")) + b"\n")
    assert list(archive.iterate_left_out(3, 1)) == [archive.LeftOut(4, "empty")]
    assert list(archive.iterate_left_out(3, None)) == []


def test_rows_that_were_left_out_are_found_from_any_row_on():
    kept = [archive.LeftOut(number, "Zeile " * (number % 7)) for number in (2, 3, 5, 9, 40, 41, 80)]
    write(archive.left_out(3, 1), b"".join(msgspec.json.encode(row) + b"\n" for row in kept))
    for first in range(83):
        found = list(archive.iterate_left_out(3, 1, first))
        assert found == [row for row in kept if row.number >= first]
    write(archive.left_out(3, 2), b"")
    assert list(archive.iterate_left_out(3, 2, 7)) == []


def test_delete_removes_everything_of_one_owner():
    write(archive.results(7, 1), b"x")
    write(archive.results(8, 1), b"y")
    archive.delete("message_batches", 7)
    assert not archive.results(7, 1).parent.exists()
    assert archive.results(8, 1).exists()
    with pytest.raises(FileNotFoundError):
        archive.delete("message_batches", 7)
