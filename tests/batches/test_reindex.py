from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from batches import archive, building, collecting
from batches.models import Batch, MessageBatch, Request, Result, Run
from tests.batches.ended import RESULTS, collect, make_ended, unbounded
from tests.batches.stage import HOUR, make_batch, make_part, now, result_lines
from tests.scripted_api import Reply

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
LEASE_COLUMNS = {"owner", "lease_until", "fence"}


def dump() -> dict[str, list[dict[str, object]]]:
    """Every column of the index, of the parts and of the Batches; not who holds the parts."""
    tables = {model.__name__: model for model in (Request, Result, MessageBatch, Batch)}
    return {
        name: [
            {column: value for column, value in row.items() if column not in LEASE_COLUMNS}
            for row in model.objects.order_by("pk").values()
        ]
        for name, model in tables.items()
    }


def reindex(*arguments: object) -> str:
    out = StringIO()
    call_command("reindex", *map(str, arguments), stdout=out, stderr=out)
    return out.getvalue()


@pytest.fixture
def built(api, workspace) -> Batch:
    """Three parts, built as ever: one is stored, one incomplete, one lost."""
    batch = make_batch(workspace, [f"text {number}" for number in range(30)])
    recipe = batch.recipe | {"id_column": "text"}
    selection = {"kind": "all", "part_size": 10}
    Run.objects.create(
        batch=batch, token="t", recipe=recipe, selection=selection, state="queued", due_at=now()
    )
    assert building.step(now())
    for number, part in enumerate(batch.message_batches.order_by("pk"), 1):
        counts = {"succeeded": part.size - 1, "errored": 1, "processing_status": "ended"}
        ended = {"message_batch_id": f"msgbatch_{number}", "state": "submitted", **counts}
        MessageBatch.objects.filter(pk=part.pk).update(**ended, api="sandbox", created_at=now())
        first, *others = result_lines(part)
        lines = [first.replace(b'"succeeded"', b'"errored"'), *others]
        kept = lines if number == 1 else lines[:4]
        path = RESULTS.replace("_1/", f"_{number}/")
        api.plan("GET", path, Reply(b"".join(kept), bounded=False))
    while collecting.step(now()):
        pass
    last = MessageBatch.objects.filter(message_batch_id="msgbatch_3")
    assert last.update(stop_waiting_at=now(), due_at=now()) == 1
    assert collecting.step(now())
    states = list(batch.message_batches.order_by("pk").values_list("state", flat=True))
    assert states == ["stored", "incomplete", "lost"]
    batch.refresh_from_db()
    return batch


def test_it_works(built):
    before = dump()
    assert reindex().count("results.") == 3
    assert dump() == before


def test_what_was_deleted_is_written_again(built):
    before = dump()
    Result.objects.all().delete()
    MessageBatch.objects.update(tokens={}, answers={}, concerns={})
    Batch.objects.update(succeeded=0, missing=0, cost=None, tokens={})
    said = reindex(built.pk)
    assert "11 results." in said
    assert dump() == before


def test_requests_are_written_again_with_their_own_ids(built):
    before = dump()
    Request.objects.all().delete()
    Result.objects.all().delete()
    reindex(built.pk)
    assert dump() == before
    assert Request.objects.order_by("pk").first().own_id == "text 0"


def test_rows_that_were_sent_once_more_stay_marked(api, workspace):
    batch = make_batch(workspace)
    part = collect_one(api, batch)
    again = Run.objects.create(batch=batch, token="again", recipe={}, state="built")
    make_part(batch, 2, "queued", run=again, rows=[3, 4])
    Result.objects.filter(row__in=[3, 4]).update(retried_in=again)
    MessageBatch.objects.filter(pk=part.pk).update(answers={"succeeded": 3})
    with transaction.atomic():
        batch.recount()
    before = dump()
    reindex("--part", part.pk)
    assert dump() == before
    assert Result.objects.filter(retried_in=again).count() == 2


def test_rows_whose_second_attempt_was_never_sent_count(api, workspace):
    batch = make_batch(workspace)
    part = collect_one(api, batch)
    again = Run.objects.create(batch=batch, token="again", recipe={}, state="built")
    make_part(batch, 2, "dropped", run=again, rows=[3, 4])
    reindex("--part", part.pk)
    assert Result.objects.filter(retried_in=None).count() == 5


def collect_one(api, batch) -> MessageBatch:
    part = make_ended(batch)
    return collect(part, unbounded(result_lines(part)), api=api)


def test_what_is_set_aside_stays_so(api, workspace):
    part = collect_one(api, make_batch(workspace))
    MessageBatch.objects.update(crashes=3, due_at=now() - HOUR)
    reindex()
    part.refresh_from_db()
    assert (part.crashes, part.lease_until, part.owner) == (3, None, "")
    assert part.due_at is not None


def test_an_index_stays_where_its_file_is_gone(api, workspace):
    part = collect_one(api, make_batch(workspace))
    other = collect_other(api, part.batch)
    archive.results(part.pk, part.results_fence).unlink()
    before = dump()
    said = StringIO()
    with pytest.raises(CommandError, match="1 part not done"):
        call_command("reindex", stdout=said, stderr=said)
    assert (
        f"Part {part.pk} (part 1 of batch {part.batch_id}): 0 of 5 answers can" in said.getvalue()
    )
    assert f"Part {other.pk} (part 2 of batch {part.batch_id}): 6 results." in said.getvalue()
    assert dump() == before


def collect_other(api, batch) -> MessageBatch:
    other = make_ended(batch, 6, message_batch_id="msgbatch_2")
    api.plan("GET", RESULTS.replace("_1/", "_2/"), Reply(b"".join(result_lines(other))))
    assert collecting.step(now())
    return other


def test_requests_whose_file_is_damaged_are_not_guessed(api, workspace):
    part = collect_one(api, make_batch(workspace))
    Request.objects.first().delete()
    path = archive.requests(part.pk, part.requests_fence)
    path.write_bytes(path.read_bytes()[:-10])
    said = StringIO()
    with pytest.raises(CommandError):
        call_command("reindex", stdout=said, stderr=said)
    assert "requests-1.jsonl is damaged." in said.getvalue()
    assert Request.objects.count() == 4


def test_a_part_in_a_worker_s_hands_is_left_alone(api, workspace):
    part = collect_one(api, make_batch(workspace))
    MessageBatch.objects.update(owner="elsewhere:1", lease_until=now() + HOUR)
    with pytest.raises(CommandError):
        reindex("--part", part.pk)
    part.refresh_from_db()
    assert part.owner == "elsewhere:1"


def test_what_was_not_answered_yet_has_nothing_to_index(workspace):
    part = make_part(make_batch(workspace))
    before = dump()
    assert reindex(part.batch_id) == f"Part {part.pk} ({part}): 0 results.\n"
    assert dump() == before


def test_what_was_made_elsewhere_and_has_not_come_has_nothing_either(workspace):
    part = make_part(make_batch(workspace), state="submitted")
    Request.objects.all().delete()
    MessageBatch.objects.update(run=None, requests_fence=None)
    assert reindex(part.batch_id) == f"Part {part.pk} ({part}): 0 results.\n"


@pytest.mark.parametrize("arguments", [("999",), ("--part", "999")])
def test_unknown_numbers_are_said(db, arguments):
    with pytest.raises(CommandError, match=r"There is no (batch|part) 999\."):
        reindex(*arguments)
