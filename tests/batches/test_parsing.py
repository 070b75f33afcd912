"""The stage: a queued Upload becomes ready or refused, its rows and problems files."""

import hashlib
import io
import tracemalloc
from datetime import UTC, datetime

import msgspec
import pytest

from batches import archive, parsing
from batches.models import Batch, Upload
from batches.problems import Problem
from leases.renewing import LeaseLost, Renewal
from workspaces.models import Workspace

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def workspace(db: None) -> Workspace:
    return Workspace.objects.create(name="Acme", slug="acme")


def upload_of(workspace: Workspace, data: bytes, filename: str = "rows.csv") -> Upload:
    upload = Upload.objects.create(
        workspace=workspace,
        filename=filename,
        token=str(Upload.objects.count()),
        size=len(data),
        state=Upload.State.QUEUED,
        due_at=NOON,
    )
    path = archive.received(upload.pk)
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return upload


def problems_of(upload: Upload) -> list[Problem]:
    lines = archive.problems(upload.pk, upload.fence).read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Problem) for line in lines]


def test_a_table_becomes_rows(workspace: Workspace) -> None:
    upload = upload_of(workspace, 'id;text\n1;café\n\n2;"a\nb"\n'.encode())
    assert parsing.step(NOON)
    upload.refresh_from_db()
    assert (upload.state, upload.kind, upload.rows) == ("ready", "table", 2)
    assert (upload.encoding, upload.delimiter) == ("utf-8", ";")
    assert upload.columns == ["id", "text"]
    assert upload.problems == {"total": 0, "rows": 0, "kinds": 0, "first": []}
    assert (upload.lease_until, upload.due_at, upload.rows_fence) == (None, None, 1)
    rows = list(archive.iterate_rows(upload.pk, 1))
    assert [(row.number, row.cells) for row in rows] == [(2, ["1", "café"]), (4, ["2", "a\nb"])]


def test_a_row_is_found_by_its_number(workspace: Workspace) -> None:
    upload = upload_of(workspace, b"id\n1\n\n3\n4\n")
    parsing.step(NOON)
    found = archive.read_row(upload.pk, 1, 4)
    assert found is not None
    assert found.cells == ["3"]
    assert archive.read_row(upload.pk, 1, 3) is None


def test_requests_keep_their_params_byte_for_byte(workspace: Workspace) -> None:
    params = b'{ "model":"m", "max_tokens":1.0e0, "messages":[] }'
    message = b'{"role":"user","content":"\\u00e9 \xe2\x80\xa8"}'
    sound = b'{"max_tokens": 5,"model":"m","messages":[%s]}' % message
    data = b'{"params":%s,"custom_id":"a"}\n{"custom_id":"b","params":%s}\n' % (sound, params)
    upload = upload_of(workspace, data, "requests.jsonl")
    parsing.step(NOON)
    upload.refresh_from_db()
    first, second = archive.iterate_rows(upload.pk, 1)
    assert (upload.kind, upload.columns, upload.rows) == ("requests", [], 2)
    assert (first.own_id, bytes(first.params), first.reason) == ("a", sound, "")
    assert (second.own_id, bytes(second.params)) == ("b", b"null")
    assert "messages` has no entries" in second.reason


def test_columns_say_how_full_they_are(workspace: Workspace) -> None:
    upload = upload_of(workspace, "id,text\n1,café\n2, \n3,\n4,b,too many\n".encode())
    parsing.step(NOON)
    upload.refresh_from_db()
    assert upload.column_facts == [{"filled": 4, "longest": 1}, {"filled": 2, "longest": 4}]


def test_bytes_that_nobody_counted_get_their_digest(workspace: Workspace) -> None:
    upload = upload_of(workspace, b"a\n1\n")
    parsing.step(NOON)
    upload.refresh_from_db()
    assert upload.sha256 == hashlib.sha256(b"a\n1\n").hexdigest()


def test_rows_are_told_while_they_are_read(workspace: Workspace) -> None:
    upload = upload_of(workspace, b"a\n" + b"1\n" * 20_001)
    claimed = Upload.objects.claim("me", NOON)
    log = parsing.ProblemLog(io.BytesIO())
    parsing.write_rows(claimed, parsing.open_upload(claimed), log, Renewal(claimed))
    upload.refresh_from_db()
    assert (upload.state, upload.rows) == ("queued", 20_000)


def test_problems_are_counted_by_row_and_by_kind(workspace: Workspace) -> None:
    upload = upload_of(workspace, b"id,text\n1,a,b\n2\n3,\0,x\n4,a,c,d\n")
    parsing.step(NOON)
    upload.refresh_from_db()
    assert (upload.problem_count, upload.problem_rows, upload.problem_kinds) == (5, 4, 3)


def test_another_reading_leaves_nothing_of_the_first(workspace: Workspace) -> None:
    upload = upload_of(workspace, b"a;b\n1;2\n")
    parsing.step(NOON)
    upload.refresh_from_db()
    assert upload.read_again(NOON, delimiter=",", has_header=False)
    parsing.step(NOON)
    upload.refresh_from_db()
    assert (upload.columns, upload.rows, upload.rows_fence) == (["Column 1"], 2, 3)
    names = {path.name for path in archive.received(upload.pk).parent.iterdir()}
    assert names == {"received", "rows-3.jsonl", "rows-3.idx", "problems-3.jsonl"}


def test_who_reads_while_it_is_to_be_read_otherwise_changes_nothing(workspace: Workspace) -> None:
    upload = upload_of(workspace, b"a;b\n1;2\n")
    early = Upload.objects.claim("early", NOON)
    assert upload.read_again(NOON, delimiter=",")
    parsing.parse(early, Renewal(early))
    upload.refresh_from_db()
    assert (upload.state, upload.delimiter, upload.rows_fence) == ("queued", ",", None)
    assert parsing.step(NOON)
    upload.refresh_from_db()
    assert (upload.state, upload.columns) == ("ready", ["a;b"])


def test_problems_are_kept_by_row(workspace: Workspace) -> None:
    upload = upload_of(workspace, b"id,text\n" + b"1,a,b\n" * 150)
    parsing.step(NOON)
    upload.refresh_from_db()
    assert upload.state == "ready"
    assert upload.rows == 150
    assert upload.problem_count == 150
    assert len(upload.first_problems) == 100
    assert upload.first_problems[0]["row"] == 2
    assert [problem.row for problem in problems_of(upload)] == list(range(2, 152))
    reasons = [row.reason for row in archive.iterate_rows(upload.pk, 1)]
    assert reasons[149].startswith("Row 151: 3 cells, the header has 2.")


def test_a_problem_of_the_file_refuses_it_and_comes_first(workspace: Workspace) -> None:
    upload = upload_of(workspace, b'id,text\n1,a,b\n2,"open\n3,c\n')
    parsing.step(NOON)
    upload.refresh_from_db()
    assert (upload.state, upload.rows, upload.encoding) == ("refused", 0, "")
    assert [problem["row"] for problem in upload.first_problems] == [0, 2]
    assert "Quote opened in row 3" in upload.first_problems[0]["what"]
    assert {problem.row for problem in problems_of(upload)} == {0, 2}
    assert not archive.rows(upload.pk, upload.fence).exists()


def test_a_file_that_is_gone_is_said(workspace: Workspace) -> None:
    upload = upload_of(workspace, b"")
    archive.received(upload.pk).unlink()
    parsing.step(NOON)
    upload.refresh_from_db()
    assert upload.first_problems[0]["what"] == "The file is no longer on the server."


def test_nothing_due(workspace: Workspace) -> None:
    assert not parsing.step(NOON)
    upload = upload_of(workspace, b"a\n1\n")
    Upload.objects.update(state=Upload.State.READY)
    assert not parsing.step(NOON)
    upload.refresh_from_db()
    assert upload.fence == 0


def test_only_takes_the_upload_of_its_batch(workspace: Workspace) -> None:
    other, mine = (upload_of(workspace, b"a\n1\n") for _ in range(2))
    batch = Batch.objects.create(workspace=workspace, name="B", upload=mine)
    assert parsing.step(NOON, batch)
    assert not parsing.step(NOON, batch)
    assert Upload.objects.get(pk=mine.pk).state == "ready"
    assert Upload.objects.get(pk=other.pk).state == "queued"


def test_what_a_person_chose_is_used(workspace: Workspace) -> None:
    upload = upload_of(workspace, b"id,a;text\n1,b;caf\xe9\n")
    Upload.objects.update(encoding="windows-1252", delimiter=";")
    parsing.step(NOON)
    upload.refresh_from_db()
    assert (upload.encoding, upload.columns) == ("cp1252", ["id,a", "text"])
    assert [row.cells for row in archive.iterate_rows(upload.pk, 1)] == [["1,b", "café"]]


def test_a_reader_that_lost_its_lease_changes_nothing(workspace: Workspace) -> None:
    upload_of(workspace, b"a\n1\n")
    late = Upload.objects.claim("late", NOON)
    Upload.objects.update(lease_until=None)
    parsing.step(NOON)
    renewal = Renewal(late)
    renewal.lost.set()
    with pytest.raises(LeaseLost):
        parsing.parse(late, renewal)
    assert archive.rows(late.pk, 2).exists()
    assert not archive.rows(late.pk, 1).exists()
    assert Upload.objects.get().rows_fence == 2


def test_memory_does_not_grow_with_rows(workspace: Workspace) -> None:
    row = b"%d," + b"some words of a review " * 20 + b"\n"
    upload = upload_of(workspace, b"id,text\n" + b"".join(row % n for n in range(20_000)))
    tracemalloc.start()
    try:
        parsing.step(NOON)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert upload.size > 9_000_000
    assert peak < 8_000_000
