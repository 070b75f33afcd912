import hashlib
from datetime import timedelta

import msgspec
import pytest
from django.db import transaction

from batches import archive, building
from batches.models import Batch, MessageBatch, Request, Run
from batches.planning import Selection
from leases.models import LEASE
from leases.renewing import LeaseLost, Renewal
from tests.batches.stage import body_of, make_batch, make_part, now, rows_of
from workspaces.models import Event

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


def make_run(batch, token="first", **selection):
    chosen = msgspec.to_builtins(Selection(**selection))
    state, due_at = Run.State.QUEUED, now()
    return Run.objects.create(
        batch=batch,
        token=token,
        recipe=batch.recipe,
        selection=chosen,
        state=state,
        due_at=due_at,
    )


def build(batch, token="first", **selection):
    """A Run of the selection, built; its parts in their order."""
    run = make_run(batch, token, **selection)
    assert building.step(now(), only=batch)
    run.refresh_from_db()
    batch.refresh_from_db()
    return run, list(run.message_batches.order_by("part"))


def test_it_works(workspace):
    batch = make_batch(workspace, ["a", "", 'quote " and\nline', "ü"])
    run, [part] = build(batch)
    assert (run.state, run.lease_until, part.state) == ("built", None, "queued")
    content = archive.requests(part.pk, run.fence).read_bytes()
    assert (part.size, part.bytes) == (3, len(content))
    assert part.sha256 == hashlib.sha256(content).hexdigest()
    lines = [msgspec.json.decode(line) for line in content.splitlines()]
    assert [line["custom_id"] for line in lines] == [part.custom_id(row) for row in (2, 4, 5)]
    texts = [line["params"]["messages"][0]["content"] for line in lines]
    assert texts == ["Label a", 'Label quote " and\nline', "Label ü"]
    assert (batch.state, batch.sent, batch.left_out, batch.parts) == ("queued", 3, 1, 1)


def test_index_finds_each_line(workspace):
    run, [part] = build(make_batch(workspace, ["a", "bb", "ü"]))
    path = archive.requests(part.pk, run.fence)
    for position, request in enumerate(Request.objects.in_order(part.pk)):
        line = archive.read_slice(path, request.offset, request.length)
        assert msgspec.json.decode(line)["custom_id"] == part.custom_id(request.row)
        assert request.pk == Request.key(part.pk, position)
        assert request.own_id == str(request.row)


def test_sizes_of_the_parts_differ(workspace):
    _, parts = build(make_batch(workspace, "abcdefghij"), part_size=3)
    assert [part.size for part in parts] == [4, 3, 2, 1]
    assert [part.part for part in parts] == [1, 2, 3, 4]
    assert [row for part in parts for row in rows_of(part)] == list(range(2, 12))
    assert len({part.nonce for part in parts}) == 4


def test_first_sample_and_rest_take_no_row_twice(workspace):
    batch = make_batch(workspace, "abcdefghij")
    _, [first] = build(batch, "first", kind="first", count=2)
    _, [sample] = build(batch, "sample", kind="sample", count=3, seed=7)
    _, [rest] = build(batch, "rest", kind="rest")
    assert rows_of(first) == [2, 3]
    assert (sample.size, rest.size) == (3, 5)
    assert rows_of(sample) == sorted(rows_of(sample))
    rows = rows_of(first) + rows_of(sample) + rows_of(rest)
    assert sorted(rows) == list(range(2, 12))
    assert [part.part for part in (first, sample, rest)] == [1, 2, 3]


def test_sample_is_the_same_for_the_same_seed(workspace):
    cells = [str(number) for number in range(40)]
    _, [one] = build(make_batch(workspace, cells), kind="sample", count=5, seed=1)
    _, [same] = build(make_batch(workspace, cells), kind="sample", count=5, seed=1)
    _, [other] = build(make_batch(workspace, cells), kind="sample", count=5, seed=2)
    assert rows_of(one) == rows_of(same) != rows_of(other)


def test_rows_of_a_part_that_was_not_sent_are_chosen_again(workspace):
    batch = make_batch(workspace, "abc")
    build(batch, kind="first", count=2)
    MessageBatch.objects.update(state="dropped")
    _, [rest] = build(batch, "rest", kind="rest")
    assert rows_of(rest) == [2, 3, 4]
    assert (batch.sent, batch.not_sent) == (3, 0)


def test_rows_that_were_left_out_are_told_once(workspace):
    batch = make_batch(workspace, ["a", "", "b", None])
    build(batch, kind="first", count=1)
    build(batch, token="rest", kind="rest")
    [event] = Event.objects.filter(verb="left_out")
    assert event.sentence == "2 rows left out."
    assert event.pk < Event.objects.filter(verb="built").earliest("pk").pk


def test_where_no_row_was_left_out_nothing_is_told(workspace):
    build(make_batch(workspace, ["a"]))
    assert not Event.objects.filter(verb="left_out").exists()


def test_left_out_rows_lie_in_a_file_with_their_reason(workspace):
    batch = make_batch(workspace, ["a", " ", None, "b", "\0"])
    run, [part] = build(batch)
    left_out = list(archive.iterate_left_out(run.pk, run.left_out_fence))
    assert [row.number for row in left_out] == [3, 6]
    assert left_out[0].reason.startswith("Row 3: every column that the prompt uses is empty.")
    assert "NUL" in left_out[1].reason
    assert (rows_of(part), batch.left_out, batch.rows) == ([2, 5], 3, 0)


def test_nothing_to_send_is_refused(workspace):
    batch = make_batch(workspace, ["", None])
    run, parts = build(batch)
    assert (run.state, parts, run.due_at) == ("refused", [], None)
    assert run.reason == "No row can be sent: 2 rows left out."
    assert (batch.state, batch.left_out) == ("refused", 2)
    assert not building.step(now())


def test_nothing_left_to_send_is_refused(workspace):
    batch = make_batch(workspace, "ab")
    build(batch)
    run, parts = build(batch, "rest", kind="rest")
    assert (run.state, parts, run.reason) == ("refused", [], "No row is left to send.")
    assert batch.state == "queued"


@pytest.fixture
def died(workspace):
    """A Run whose builder was killed after its first part: the lease is still there."""
    batch = make_batch(workspace, "abcdefghij")
    make_run(batch, part_size=3)
    run = Run.objects.claim("killed:1", now())
    part = building.create_part(run, 1, None, Renewal(run))
    building.write_part(part, building.render_chosen(run, {2, 3, 4, 5}), Renewal(run))
    return run, part


def test_unfinished_parts_are_invisible(died):
    batch = Batch.objects.get()
    with transaction.atomic():
        batch.recount()
    assert (batch.state, batch.sent, batch.parts) == ("building", 0, 0)


def test_second_builder_takes_over(died):
    run, unfinished = died
    assert building.step(now() + 2 * LEASE)
    parts = list(MessageBatch.objects.order_by("part"))
    assert [part.size for part in parts] == [4, 3, 2, 1]
    assert unfinished.pk not in {part.pk for part in parts}
    assert not Request.objects.of(unfinished.pk).exists()
    assert Request.objects.count() == 10
    assert not archive.requests(unfinished.pk, run.fence).exists()
    assert body_of(parts[0]).count(b"custom_id") == 4


def test_builder_that_lost_its_lease_queues_nothing(died):
    stale, part = died
    assert building.step(now() + 2 * LEASE)
    built = set(MessageBatch.objects.values_list("pk", flat=True))
    building.queue(stale, [part], building.Survey(), now())
    assert set(MessageBatch.objects.values_list("pk", flat=True)) == built
    assert Batch.objects.get().sent == 10


def test_builder_that_lost_its_lease_indexes_nothing(died):
    stale, part = died
    assert building.step(now() + 2 * LEASE)
    with pytest.raises(LeaseLost):
        building.create_part(stale, 9, None, Renewal(stale))
    with pytest.raises(LeaseLost):
        building.write_part(part, building.render_chosen(stale, {6}), Renewal(stale))
    assert Request.objects.count() == 10
    assert not MessageBatch.objects.filter(part=9).exists()


def test_builder_that_lost_its_lease_discards_nothing(died):
    stale, part = died
    Run.objects.update(fence=stale.fence + 1)
    with pytest.raises(LeaseLost):
        building.discard_unfinished(stale, Renewal(stale))
    assert archive.requests(part.pk, stale.fence).exists()
    assert rows_of(part) == [2, 3, 4, 5]
    assert MessageBatch.objects.get() == part


def test_builder_that_crashed_three_workers_is_set_aside(died):
    Run.objects.update(crashes=3)
    assert not building.step(now() + timedelta(days=1))


def test_other_batches_are_left_alone(workspace):
    make_run(make_batch(workspace, "a"))
    assert not building.step(now(), only=make_batch(workspace, "b"))
    assert not building.step(now() - timedelta(minutes=1))


def test_ready_requests_go_out_byte_for_byte(workspace):
    batch = make_batch(workspace)
    params = b'{ "model":"m",  "messages":[] , "max_tokens":1e2}'
    with archive.writing(archive.rows(batch.upload.pk, 1)) as file:
        row = archive.Row(7, own_id="mine", params=msgspec.Raw(params))
        file.write(msgspec.json.encode(row) + b"\n")
    batch.upload.kind = "requests"
    batch.upload.save()
    run, [part] = build(batch)
    content = archive.requests(part.pk, run.fence).read_bytes()
    assert content == b'{"custom_id":"7_%s","params":%s}\n' % (part.nonce.encode(), params)
    assert Request.objects.get().own_id == "mine"


def test_parts_of_another_batch_do_not_matter(workspace):
    make_part(make_batch(workspace))
    _, [part] = build(make_batch(workspace, "ab"))
    assert (part.part, rows_of(part)) == (1, [2, 3])
