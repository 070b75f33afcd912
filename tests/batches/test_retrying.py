"""Rows that are sent once more: which, how often they count, and what became of the first time."""

import threading
import time

import msgspec
import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from batches import archive, building, collecting, indexing, reindexing
from batches.cancelling import request_cancel
from batches.deciding import send_again
from batches.models import Batch, MessageBatch, Request, Result, Run
from batches.planning import Selection
from batches.retrying import CannotRetry, Wish, retry
from batches.reviewing import token_of
from leases.renewing import Renewal
from tests.batches import answers, build
from tests.batches.answers import BUSY, CANCELED, CUT, EXPIRED, REFUSED, WRONG
from tests.batches.stage import now, rows_of
from workspaces.models import Event

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
FINE = build.succeeded("fine")
# Rows 2 to 9.
ANSWERS = dict(enumerate([FINE, BUSY, EXPIRED, CANCELED, WRONG, CUT, REFUSED, FINE], 2))
OTHER = {"max_tokens": 4_096}


# Counting locks the Batch, for which a transaction is needed.
answered = transaction.atomic(answers.answered)
collect = transaction.atomic(answers.collect)


@pytest.fixture
def batch(workspace) -> Batch:
    return answered(ANSWERS)


def wish(batch, recipe=None, **selection):
    chosen = Selection(kind="retry", **selection)
    return Wish(batch, chosen, {**batch.recipe, **(recipe or {})})


def press(batch, recipe=None, **selection):
    chosen = wish(batch, recipe, **selection)
    return retry(chosen, now(), token=token_of(batch), sentence="Alice pressed Retry.")


def run(batch, recipe=None, **selection):
    """Press and build; the new Run and its parts."""
    started = press(batch, recipe, **selection)
    assert building.step(now(), only=batch)
    started.refresh_from_db()
    batch.refresh_from_db()
    return started, list(started.message_batches.order_by("part"))


def adds_up(batch):
    batch.refresh_from_db()
    assert batch.rows == batch.left_out + batch.not_sent + batch.sent + batch.not_chosen
    waiting = sum(part.size for part in batch.message_batches.filter(state="queued"))
    assert (batch.waiting, batch.sent) == (waiting, batch.answered + waiting)
    counted = Result.objects.counting(batch)
    assert counted.count() == batch.answered
    assert counted.values("row").distinct().count() == batch.answered
    return batch


def test_rows_are_sent_again_and_their_first_answers_count_no_more(batch):
    started, [part] = run(batch, types=["expired", "canceled"], concerns=["overloaded_error"])
    assert (started.state, part.state, part.part) == ("built", "queued", 2)
    assert rows_of(part) == [3, 4, 5]
    marked = Result.objects.filter(retried_in=started).order_by("row")
    assert list(marked.values_list("row", flat=True)) == [3, 4, 5]
    assert (adds_up(batch).sent, batch.waiting, batch.succeeded) == (8, 3, 4)
    assert (batch.errored, batch.expired, batch.canceled) == (1, 0, 0)
    collect(part, {3: FINE, 4: FINE, 5: BUSY})
    assert (adds_up(batch).succeeded, batch.errored, batch.waiting) == (6, 2, 0)
    assert batch.concerns["errored"] == {"invalid_request_error": 1, "overloaded_error": 1}


def test_a_plain_success_is_never_taken(batch):
    started, parts = run(batch, OTHER, types=["succeeded"], rows=[2, 9])
    assert (started.state, started.reason, parts) == ("refused", "No row is left to send.", [])
    _, [part] = run(batch, OTHER, types=["succeeded"])
    assert rows_of(part) == [7, 8]
    adds_up(batch)


def test_what_is_wrong_as_it_is_goes_with_another_recipe_only(batch):
    mended = {"types": ["succeeded"], "concerns": ["invalid_request_error"]}
    tally = wish(batch, **mended).tally()
    assert (tally.rows, tally.count_held("unedited")) == (0, 3)
    started, _ = run(batch, **mended)
    assert started.state == "refused"
    tally = wish(batch, OTHER, **mended).tally()
    assert (tally.rows, tally.count_held("unedited"), tally.billed) == (3, 0, 2)
    _, [part] = run(batch, OTHER, **mended)
    assert rows_of(part) == [6, 7, 8]
    line = archive.requests(part.pk, part.requests_fence).read_bytes().splitlines()[0]
    assert msgspec.json.decode(line)["params"]["max_tokens"] == 4_096
    first = batch.runs.order_by("pk").first()
    assert first.recipe.get("max_tokens") != 4_096


def test_the_same_other_recipe_is_not_another_one_twice(batch):
    _, [part] = run(batch, OTHER, rows=[7])
    collect(part, {7: CUT})
    assert wish(batch, OTHER, rows=[7]).tally().count_held("unedited") == 1
    assert wish(batch, {"max_tokens": 5_000}, rows=[7]).tally().rows == 1


def test_counters_and_rows_agree_on_how_many(batch):
    for chosen in [
        {"types": ["errored"]},
        {"types": ["expired", "canceled", "errored", "succeeded"]},
        {"concerns": ["max_tokens", "overloaded_error"]},
        {"rows": [2, 3, 4, 6, 7, 999]},
    ]:
        for recipe in ({}, OTHER):
            asked = wish(batch, recipe, **chosen)
            assert asked.tally().rows == len(list(asked.find())), (chosen, recipe)


def test_rows_of_a_part_that_is_still_collected_wait(batch):
    MessageBatch.objects.update(state="incomplete")
    tally = wish(batch, types=["expired"]).tally()
    assert (tally.rows, tally.count_held("unsettled")) == (0, 1)
    started, _ = run(batch, types=["expired"])
    assert started.state == "refused"


@pytest.mark.parametrize("came_to_rest", [True, False], ids=["before", "after"])
def test_what_comes_after_the_press_is_not_taken(batch, came_to_rest):
    MessageBatch.objects.update(state="stored" if came_to_rest else "incomplete")
    started = press(batch, types=["expired"])
    MessageBatch.objects.update(state="stored")
    assert building.step(now(), only=batch)
    started.refresh_from_db()
    assert started.state == ("built" if came_to_rest else "refused")


def test_a_retry_of_a_retry(batch):
    first, [part] = run(batch, rows=[3])
    collect(part, {3: BUSY})
    second, [again] = run(batch, rows=[3])
    assert (rows_of(again), again.part) == ([3], 3)
    marks = Result.objects.filter(row=3).order_by("pk").values_list("retried_in", flat=True)
    assert list(marks) == [first.pk, second.pk]
    collect(again, {3: FINE})
    assert adds_up(batch).errored == 1


@pytest.mark.parametrize("way", ["canceled", "rejected"])
def test_what_was_not_sent_after_all_keeps_its_first_answer(batch, way):
    before = (batch.sent, batch.succeeded, batch.concerns)
    _, [part] = run(batch, types=["expired", "errored"])
    assert part.size == 2
    if way == "canceled":
        request_cancel(batch, now())
    else:
        part.state = "sending"
        part.save()
        assert part.move("rejected", reason="too large")
    assert adds_up(batch).not_sent == 0
    assert (batch.sent, batch.succeeded, batch.concerns) == before
    assert not Result.objects.exclude(retried_in=None).exists()
    again, [part] = run(batch, types=["expired", "errored"])
    assert (again.state, part.size) == ("built", 2)
    adds_up(batch)


def test_a_retry_that_is_sent_again_takes_the_same_rows(batch):
    _, [part] = run(batch, types=["expired", "errored"])
    part.state = "rejected"
    part.save()
    with transaction.atomic():
        part.link_attempts()
    send_again(part, now())
    assert building.step(now(), only=batch)
    [again] = batch.message_batches.filter(replaces=part)
    assert (rows_of(again), again.state, again.part) == (rows_of(part), "queued", part.part)
    adds_up(batch)


def test_a_dropped_retry_that_turns_up_counts_again(batch):
    _, [part] = run(batch, rows=[3])
    part.move("dropped")
    assert adds_up(batch).waiting == 0
    part.move("submitted", message_batch_id="msgbatch_found")
    batch.refresh_from_db()
    assert (batch.waiting, batch.sent) == (1, 8)
    assert Result.objects.get(row=3).retried_in_id == part.run_id


def test_a_builder_that_died_while_marking_leaves_no_mark(batch):
    started = press(batch, types=["expired", "errored"])
    Result.objects.mark(started, [3])
    half = MessageBatch.objects.create(
        workspace=batch.workspace, batch=batch, run=started, part=2, requests_fence=0, size=1
    )
    Request.objects.create(
        pk=Request.key(half.pk, 0), batch=batch, row=3, own_id="r-3", offset=0, length=1
    )
    assert building.step(now(), only=batch)
    [part] = started.message_batches.all()
    assert (part.pk != half.pk, rows_of(part)) == (True, [3, 4])
    assert Result.objects.filter(retried_in=started).count() == 2
    adds_up(batch)


def test_a_retry_that_is_canceled_while_it_is_built_frees_its_rows(batch):
    started = press(batch, types=["expired"])
    Result.objects.mark(started, [4])
    request_cancel(batch, now())
    later = press(batch, types=["expired"])
    while building.step(now(), only=batch):
        later.refresh_from_db()
    if later.state == "queued":
        time.sleep(1.1)
        assert building.step(now(), only=batch)
    later.refresh_from_db()
    assert later.state == "built"
    assert Result.objects.get(row=4).retried_in_id == later.pk
    adds_up(batch)


def begin(batch, row, **selection):
    """A builder that has marked one row and goes no further."""
    press(batch, **selection)
    held = Run.objects.claim("me", now())
    part = building.create_part(held, building.next_number(held), None, Renewal(held))
    building.write_part(part, building.render_chosen(held, {row}), Renewal(held), {row})
    return held


def test_rows_that_were_counted_while_they_were_marked_count_again_once_they_are_free(batch):
    begin(batch, 4, types=["expired"])
    old = batch.message_batches.earliest("pk")
    reindexing.reindex(old, now())
    request_cancel(batch, now())
    while building.step(now(), only=batch):
        pass
    assert (adds_up(batch).sent, batch.expired) == (8, 1)


def test_marks_that_come_at_the_end_of_an_index_are_counted(batch):
    MessageBatch.objects.update(due_at=now())
    old = MessageBatch.objects.claim("me", now())
    totals = indexing.write_index(old, indexing.scan(old), Renewal(old))
    run(batch, types=["expired"])
    with indexing.counting(old) as counted:
        assert collecting.finish(old, "Collected again.", now(), totals | counted)
    assert (adds_up(batch).sent, batch.expired, batch.waiting) == (8, 0, 1)


def test_who_counts_a_part_and_who_changes_another_do_not_wait_for_each_other(batch):
    _, [part] = run(batch, types=["expired"])
    MessageBatch.objects.filter(pk=part.pk).update(state="sending")
    part.refresh_from_db()
    old, failed = batch.message_batches.earliest("pk"), []

    def finish() -> None:
        with indexing.counting(old) as counted:
            collecting.finish(old, "Collected again.", now(), counted)

    def guarded(work) -> threading.Thread:
        def go() -> None:
            try:
                work()
            except Exception as error:
                failed.append(error)
            finally:
                connection.close()

        thread = threading.Thread(target=go)
        thread.start()
        return thread

    with transaction.atomic():
        MessageBatch.objects.select_for_update().get(pk=old.pk)
        threads = [guarded(finish)]
        time.sleep(0.2)
        threads.append(guarded(lambda: part.move("rejected", reason="too large")))
        time.sleep(0.2)
    for thread in threads:
        thread.join()
    assert failed == []
    assert (adds_up(batch).sent, batch.expired) == (8, 1)


def test_a_second_builder_takes_over_and_the_first_can_write_no_more(batch):
    started = press(batch, types=["expired", "errored"])
    stale = Run.objects.get(pk=started.pk)
    assert building.step(now(), only=batch)
    with pytest.raises(Exception, match="claimed by another worker"):
        building.build(stale, Renewal(stale), now())
    assert started.message_batches.count() == 1
    assert Result.objects.filter(retried_in=started).count() == 2
    adds_up(batch)


def test_two_who_press_at_once_make_one_run(batch):
    token, said = token_of(batch), []

    def press_once() -> None:
        try:
            retry(wish(batch, types=["expired"]), now(), token=token, sentence="Pressed.")
            said.append("made")
        except CannotRetry as error:
            said.append(str(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=press_once) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == ["Another run of this batch is being built.", "made"]
    assert batch.runs.filter(state="queued").count() == 1


def test_ready_requests_go_again_with_more_tokens(workspace):
    params = b'{ "model":"claude-haiku-4-5","messages":[{"role":"user","content":"\xc3\xbc"}],'
    params += b'"max_tokens": 7}'
    raw = msgspec.Raw(params)
    rows = [archive.Row(number, own_id=f"r-{number}", params=raw) for number in (1, 2)]
    batch = build.make_batch(build.make_upload([], rows), rows=2)
    first = build.make_part(build.make_run(batch), {1: "r-1", 2: "r-2"})
    collect(first, {1: CUT, 2: WRONG})
    batch.refresh_from_db()
    named = {"concerns": ["max_tokens", "invalid_request_error"]}
    assert Wish(batch, Selection(kind="retry", **named), {}).tally().count_held("unedited") == 2
    chosen = Wish(batch, Selection(kind="retry", max_tokens=90, **named), {})
    assert (chosen.tally().rows, chosen.tally().count_held("unedited")) == (1, 1)
    retry(chosen, now(), token=token_of(batch), sentence="Pressed.")
    assert building.step(now(), only=batch)
    [part] = batch.message_batches.filter(state="queued")
    line = archive.requests(part.pk, part.requests_fence).read_bytes()
    sent = params.replace(b"{ ", b"{").replace(b": 7", b":90")
    assert line == b'{"custom_id":"%s","params":%s}\n' % (part.custom_id(1).encode(), sent)


def test_ready_requests_that_are_sent_again_keep_their_raised_tokens(workspace):
    raw = msgspec.Raw(b'{"model":"claude-haiku-4-5","max_tokens":7,"messages":[]}')
    rows = [archive.Row(1, own_id="r-1", params=raw)]
    batch = build.make_batch(build.make_upload([], rows), rows=1)
    collect(build.make_part(build.make_run(batch), {1: "r-1"}), {1: CUT})
    chosen = Wish(batch, Selection(kind="retry", rows=[1], max_tokens=90), {})
    retry(chosen, now(), token=token_of(batch), sentence="Pressed.")
    assert building.step(now(), only=batch)
    part = batch.message_batches.get(state="queued")
    part.state = "rejected"
    part.save()
    with transaction.atomic():
        part.link_attempts()
    send_again(part, now())
    assert building.step(now(), only=batch)
    again = batch.message_batches.get(replaces=part)
    assert b'"max_tokens":90' in archive.requests(again.pk, again.requests_fence).read_bytes()


def test_rows_that_the_other_recipe_cannot_send_keep_their_answers(workspace):
    batch = answered({2: EXPIRED, 3: EXPIRED})
    rows = [archive.Row(2, cells=["r-2", ""]), archive.Row(3, cells=["r-3", "text"])]
    with archive.writing(archive.rows(batch.upload_id, 1)) as file:
        file.writelines(msgspec.json.encode(row) + b"\n" for row in rows)
    with archive.writing(archive.rows_index(batch.upload_id, 1)) as file:
        file.write(archive.INDEX_ENTRY.pack(2, 0))
        file.write(archive.INDEX_ENTRY.pack(3, len(msgspec.json.encode(rows[0])) + 1))
    _, [part] = run(batch, types=["expired"])
    assert rows_of(part) == [3]
    assert (adds_up(batch).left_out, batch.expired, batch.sent) == (0, 1, 2)
    told = Event.objects.get(verb="left_out").sentence
    assert told == "1 row cannot be sent with this recipe: the earlier answers stay."


def test_ten_thousand_rows_are_retried_in_chunks(workspace):
    batch = answered(dict.fromkeys(range(2, 10_002), EXPIRED))
    began = time.monotonic()
    _, parts = run(batch, types=["expired"])
    assert time.monotonic() - began < 20
    assert sum(part.size for part in parts) == 10_000
    assert (adds_up(batch).waiting, batch.expired) == (10_000, 0)
    with CaptureQueriesContext(connection) as queries:
        request_cancel(batch, now())
    assert len(queries) < 30 * len(parts), "however many rows there are"
    assert (adds_up(batch).waiting, batch.expired) == (0, 10_000)
