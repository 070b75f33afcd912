"""Which outcome each row of the upload gets, in the order of the upload."""

import tracemalloc
from collections import Counter
from itertools import pairwise

import pytest

from batches import archive
from batches.exporting import ExportRefused, export, file_name, say_counts, write_export
from batches.models import Batch, MessageBatch, Result, Run, Upload
from batches.opening import open_row
from tests.batches.build import (
    answer_part,
    errored,
    make_batch,
    make_part,
    make_run,
    make_upload,
    succeeded,
    table_rows,
)

pytestmark = pytest.mark.django_db
State = MessageBatch.State


def csv_of(batch: Batch, **options: bool) -> str:
    return b"".join(export(batch, "csv", **options)).decode()


def jsonl_of(batch: Batch) -> list[str]:
    return b"".join(export(batch, "jsonl")).decode().splitlines()


def make_table(count: int, **fields: object) -> Batch:
    rows = table_rows(*([f"r{number}", f"text {number}"] for number in range(count)))
    return make_batch(make_upload(["id", "review"], rows), **fields)


def statuses(batch: Batch) -> list[str]:
    return [line.split(",")[3] for line in csv_of(batch).splitlines()[1:]]


def test_it_works() -> None:
    batch = make_table(3, recipe={"id_column": "id"})
    part = make_part(make_run(batch), {2: "r0", 3: "r1", 4: "r2"})
    answer_part(
        part,
        {
            2: succeeded("Good, very"),
            3: errored("invalid_request_error", "max_tokens: too large"),
            4: {"type": "expired"},
        },
    )
    assert csv_of(batch) == (
        "id,review,custom_id,result,text,stop_reason,input_tokens,output_tokens,error\r\n"
        'r0,text 0,r0,succeeded,"Good, very",end_turn,10,5,\r\n'
        "r1,text 1,r1,errored,,,,,invalid_request_error: max_tokens: too large\r\n"
        "r2,text 2,r2,expired,,,,,\r\n"
    )
    assert jsonl_of(batch)[2] == '{"row":4,"custom_id":"r2","result":{"type":"expired"}}'


def test_rows_without_an_answer_say_why() -> None:
    rows = table_rows(*([f"r{number}", "x"] for number in range(7)))
    rows[0] = archive.Row(2, reason="Row 2: 3 cells, 2 columns.", cells=["r0", "x"])
    batch = make_batch(make_upload(["id", "review"], rows), recipe={"id_column": "id"})
    run = make_run(batch, left_out={3: "Row 3: every column that the prompt uses is empty."})
    make_part(run, {4: "r2"}, State.REJECTED, reason="The API refused the part (400).")
    make_part(run, {5: "r3"})
    lost = make_part(run, {6: "r4"}, State.LOST)
    Result.objects.create(
        request_id=lost.request_ids()[0], batch=batch, row=6, type=Result.Type.MISSING
    )
    make_part(run, {7: "r5"}, State.DROPPED)
    assert csv_of(batch).splitlines()[1:] == [
        'r0,x,r0,left_out,,,,,"Row 2: 3 cells, 2 columns."',
        "r1,x,r1,left_out,,,,,Row 3: every column that the prompt uses is empty.",
        "r2,x,r2,not_sent,,,,,The API refused the part (400).",
        "r3,x,r3,waiting,,,,,",
        "r4,x,r4,missing,,,,,The answer was not in the API's results.",
        "r5,x,r5,not_sent,,,,,Part 4 was not sent.",
        "r6,x,r6,not_chosen,,,,,Not chosen by any run yet.",
    ]
    assert jsonl_of(batch)[2:5] == [
        '{"row":4,"custom_id":"r2","result":{"type":"not_sent",'
        '"reason":"The API refused the part (400)."}}',
        '{"row":5,"custom_id":"r3","result":{"type":"waiting"}}',
        '{"row":6,"custom_id":"r4","result":{"type":"missing",'
        '"reason":"The answer was not in the API\'s results."}}',
    ]


def test_one_row_is_opened_without_what_was_left_out_before_it() -> None:
    batch = make_table(1_000)
    run = make_run(batch, left_out={row: f"Row {row}: no." for row in range(2, 1_002)})
    path = archive.left_out(run.pk, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    # Whoever reads the first lines stumbles.
    path.write_bytes(b"x\n" * 400 + b"".join(lines[400:]))
    for row in (900, 1_001):
        opened = open_row(batch, row)
        assert opened
        assert opened.outcome.reason == f"Row {row}: no."


def test_blank_rows_are_not_rows() -> None:
    rows = [archive.Row(2, cells=["a"]), archive.Row(5, cells=["b"])]
    batch = make_batch(make_upload(["review"], rows))
    answer_part(make_part(make_run(batch), [2, 5]), {2: succeeded("A"), 5: succeeded("B")})
    assert [line.split(",")[:4] for line in csv_of(batch).splitlines()[1:]] == [
        ["a", "2", "succeeded", "A"],
        ["b", "5", "succeeded", "B"],
    ]


def test_newest_attempt_counts() -> None:
    batch = make_table(2)
    first = make_part(make_run(batch), [2, 3])
    answer_part(first, {2: errored("overloaded_error", "Busy"), 3: succeeded("first")})
    retry = make_part(make_run(batch), [2], State.QUEUED)
    assert statuses(batch) == ["waiting", "succeeded"]
    answer_part(retry, {2: succeeded("second")})
    assert statuses(batch) == ["succeeded", "succeeded"]
    assert ",second," in csv_of(batch)


def test_a_part_that_is_still_built_does_not_count() -> None:
    batch = make_table(2)
    answer_part(make_part(make_run(batch), [2]), {2: errored("api_error", "Oh")})
    make_part(make_run(batch), [2, 3], State.BUILDING)
    assert statuses(batch) == ["errored", "not_chosen"]


def test_what_a_newer_run_leaves_out_keeps_its_answer() -> None:
    batch = make_table(2)
    run = make_run(batch, left_out={3: "old reason"})
    answer_part(make_part(run, [2]), {2: succeeded("kept")})
    make_run(batch, left_out={2: "new reason", 3: "new reason"})
    assert statuses(batch) == ["succeeded", "left_out"]
    assert "old reason" not in csv_of(batch)


@pytest.mark.parametrize(
    ("selection", "status"), [({}, "waiting"), ({"kind": "first", "count": 1}, "not_chosen")]
)
def test_rows_of_a_queued_run(selection: dict, status: str) -> None:
    batch = make_table(1)
    make_run(batch, state=Run.State.QUEUED, selection=selection)
    assert statuses(batch) == [status]


def test_incomplete_part_shows_what_came() -> None:
    batch = make_table(3)
    part = make_part(make_run(batch), [2, 3, 4])
    answer_part(part, {4: succeeded("came")}, State.INCOMPLETE)
    assert statuses(batch) == ["waiting", "waiting", "succeeded"]


def test_part_collected_anew_after_its_page_was_looked_up() -> None:
    rows = table_rows(*(["x" * 2_000] for _ in range(400)))
    batch = make_batch(make_upload(["review"], rows))
    answers = {number: succeeded(f"answer {number}") for number in range(302, 402)}
    part = make_part(make_run(batch), list(answers))
    answer_part(part, answers, State.INCOMPLETE)
    chunks = export(batch, "csv")
    head = next(chunks)
    answer_part(part, answers | {302: succeeded("longer than before")})
    archive.remove_older(archive.results(part.pk, 2))
    lines = (head + b"".join(chunks)).decode().splitlines()
    assert [line.split(",")[3] for line in lines[301:304]] == [
        "longer than before",
        "answer 303",
        "answer 304",
    ]
    assert sum(",succeeded," in line for line in lines) == 100


def test_index_that_names_another_place_is_not_believed() -> None:
    batch = make_table(2)
    part = make_part(make_run(batch), [2, 3])
    answer_part(part, {2: succeeded("two"), 3: succeeded("two")})
    places = list(Result.objects.order_by("pk").values_list("pk", "offset"))
    for (pk, _), (_, offset) in [*pairwise(places), *pairwise(reversed(places))]:
        Result.objects.filter(pk=pk).update(offset=offset)
    assert statuses(batch) == ["unreadable", "unreadable"]


@pytest.mark.parametrize(
    ("state", "status"), [(State.STORED, "unreadable"), (State.INCOMPLETE, "waiting")]
)
def test_results_file_is_gone(state: str, status: str) -> None:
    batch = make_table(1)
    part = make_part(make_run(batch), [2])
    answer_part(part, {2: succeeded("lost")}, state)
    archive.results(part.pk, 1).unlink()
    assert statuses(batch) == [status]
    said = "Collect part 1 again, or restore the file from a backup." in csv_of(batch)
    assert said == (status == "unreadable")


def test_more_parts_than_open_files() -> None:
    batch = make_table(70)
    run = make_run(batch)
    for number in range(2, 72):
        answer_part(make_part(run, [number]), {number: succeeded(f"answer {number}")})
    texts = [line.split(",")[4] for line in csv_of(batch).splitlines()[1:]]
    assert texts == [f"answer {number}" for number in range(2, 72)]


def test_two_queries_a_page(django_assert_num_queries) -> None:
    batch = make_table(5_000)
    numbers = range(2, 5_002)
    answer_part(make_part(make_run(batch), numbers), dict.fromkeys(numbers, succeeded("x")))
    with django_assert_num_queries(2 + 3 * 2):
        assert csv_of(batch).count("succeeded") == 5_000


def test_memory_does_not_grow_with_rows() -> None:
    batch = make_table(20_000)
    numbers = range(2, 20_002)
    part = make_part(make_run(batch), numbers)
    answer_part(part, dict.fromkeys(numbers, succeeded("word " * 40)))
    total, most = 0, 0
    tracemalloc.start()
    try:
        for chunk in export(batch, "csv"):
            total, most = total + len(chunk), max(most, len(chunk))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total > 4_000_000
    assert most < 70_000
    assert peak < 4_000_000


def test_ready_requests_have_no_columns_of_their_own() -> None:
    rows = [archive.Row(1, own_id="a"), archive.Row(2, reason="Line 2: no model.", own_id="b")]
    batch = make_batch(make_upload([], rows, "requests.jsonl"))
    answer_part(make_part(make_run(batch), {1: "a"}), {1: succeeded("A")})
    assert csv_of(batch) == (
        "custom_id,result,text,stop_reason,input_tokens,output_tokens,error\r\n"
        "a,succeeded,A,end_turn,10,5,\r\n"
        "b,left_out,,,,,Line 2: no model.\r\n"
    )


def test_rows_of_another_batch_are_not_taken() -> None:
    batch, other = make_table(1), make_table(1)
    answer_part(make_part(make_run(other), [2]), {2: succeeded("theirs")})
    assert statuses(batch) == ["not_chosen"]


def test_batch_without_rows_is_refused() -> None:
    adopted, unread, refused = make_batch(None), make_table(1), make_table(1)
    Upload.objects.filter(pk=unread.upload_id).update(rows_fence=None)
    Upload.objects.filter(pk=refused.upload_id).update(state=Upload.State.REFUSED)
    for batch, sentence in [
        (adopted, "was adopted"),
        (unread, "are not read yet"),
        (refused, "was refused"),
    ]:
        with pytest.raises(ExportRefused, match=sentence):
            export(Batch.objects.get(pk=batch.pk), "csv")


def test_write_export_counts_and_leaves_no_half_file(tmp_path) -> None:
    batch = make_table(2)
    answer_part(make_part(make_run(batch), [2]), {2: succeeded("A")})
    path = tmp_path / "answers.jsonl"
    assert write_export(batch, path) == {"succeeded": 1, "not_chosen": 1}
    assert path.read_text().splitlines() == jsonl_of(batch)
    archive.rows(batch.upload_id, 1).unlink()
    with pytest.raises(FileNotFoundError):
        write_export(batch, path)
    assert len(path.read_text().splitlines()) == 2
    assert [file.name for file in tmp_path.glob("answers*")] == ["answers.jsonl"]


def test_write_export_follows_a_link(tmp_path) -> None:
    (tmp_path / "shared").mkdir()
    link = tmp_path / "answers.csv"
    link.symlink_to(tmp_path / "shared" / "real.csv")
    write_export(make_table(1), link)
    assert link.is_symlink()
    assert link.read_text().startswith("id,review,")


def test_counts_in_words() -> None:
    counts = Counter(left_out=3, succeeded=9_997, paused_by_api=1, not_sent=0)
    assert say_counts(counts) == "9,997 succeeded, 1 paused by api, 3 left out"
    assert say_counts(Counter()) == "no rows"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("Review themes", "review-themes"),
        ("评论 / 主题", "评论-主题"),
        ("../..", "batch"),
        ("a" * 200, "a" * 50),
    ],
)
def test_file_name(name: str, stem: str) -> None:
    batch = Batch(pk=41, name=name)
    assert file_name(batch, "csv", False) == f"{stem}-41.csv"
    assert file_name(batch, "jsonl", True) == f"{stem}-41-partial.jsonl"
