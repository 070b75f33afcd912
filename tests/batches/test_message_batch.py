"""States and edges of a MessageBatch, its constraint, and the counters of its Batch."""

import itertools

import pytest
from django.db import IntegrityError, transaction

from batches.models import Batch, MessageBatch, Result, Run
from tests.batches.stage import make_batch, make_part, now, rows_of
from workspaces.models import Event

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]
# Written out a second time, from the design, so that an edge cannot slip into the table alone.
EDGES = {
    ("building", "queued"),
    ("building", "dropped"),
    ("queued", "sending"),
    ("queued", "dropped"),
    ("sending", "submitted"),
    ("sending", "queued"),
    ("sending", "rejected"),
    ("sending", "unknown"),
    ("unknown", "submitted"),
    ("unknown", "dropped"),
    ("dropped", "submitted"),
    ("submitted", "stored"),
    ("submitted", "incomplete"),
    ("submitted", "lost"),
    ("incomplete", "stored"),
    ("incomplete", "lost"),
}
PAIRS = list(itertools.product(MessageBatch.State.values, repeat=2))
SUMMED = ("succeeded", "errored", "canceled", "expired", "missing", "waiting")


@pytest.fixture
def batch(workspace):
    return make_batch(workspace)


def answer(part, *kinds):
    """Index so many results of a part, of these types, in the order of its rows."""
    for position, (row, kind) in enumerate(zip(rows_of(part), kinds, strict=False)):
        pk = part.request_ids()[position]
        Result.objects.create(request_id=pk, batch=part.batch, row=row, type=kind)
    part.answers = part.count_answers()
    part.save(update_fields=["answers"])


def counted(batch):
    batch.recount()
    batch.refresh_from_db()
    assert batch.sent == sum(getattr(batch, name) for name in SUMMED)
    return batch


def test_it_works(batch):
    part = make_part(batch)
    assert part.move("sending", event="Part 1 is sent.", reason="now")
    assert (part.state, part.reason) == ("sending", "now")
    event = Event.objects.get(subject=f"batch:{batch.pk}")
    assert (event.verb, event.sentence, event.data) == ("sending", "Part 1 is sent.", {"part": 1})
    batch.refresh_from_db()
    assert batch.state == "sending"


@pytest.mark.parametrize(("old", "new"), sorted(EDGES))
def test_edge_of_the_design(batch, old, new):
    part = make_part(batch, state=old)
    assert part.move(new)
    part.refresh_from_db()
    assert part.state == new


def test_any_other_edge_raises(batch):
    parts = {state: make_part(batch, n, state) for n, state in enumerate(MessageBatch.State, 1)}
    for old, new in set(PAIRS) - EDGES:
        with pytest.raises(ValueError, match=f"no way from {old} to {new}"):
            parts[old].move(new)
    assert {part.state for part in MessageBatch.objects.all()} == set(MessageBatch.State)
    assert not Event.objects.exists()


def test_second_to_move_is_told(batch):
    part = make_part(batch)
    stale = MessageBatch.objects.get()
    assert part.move("sending")
    assert not stale.move("dropped", event="Part 1 was dropped.")
    assert MessageBatch.objects.get().state == "sending"
    assert not Event.objects.exists()


def test_move_under_an_old_fence_changes_nothing(batch):
    part = make_part(batch)
    MessageBatch.objects.update(fence=1)
    assert not part.move("sending")
    assert MessageBatch.objects.get().state == "queued"


@pytest.mark.parametrize(
    ("first", "second"), list(itertools.product(["sending", "unknown"], repeat=2))
)
def test_two_unanswered_parts_do_not_look_alike(batch, first, second):
    make_part(batch, state=first)
    with pytest.raises(IntegrityError), transaction.atomic():
        make_part(make_batch(batch.workspace), state=second)


@pytest.mark.parametrize(
    "fields",
    [{"size": 6}, {"account": "wrkspc_other"}, {"state": "queued"}, {"state": "submitted"}],
)
def test_what_differs_may_be_unanswered_at_once(batch, fields):
    make_part(batch, state="unknown")
    make_part(batch, **{"state": "sending", **fields})
    assert batch.message_batches.count() == 2


def test_one_id_belongs_to_one_part(batch):
    make_part(batch, state="submitted", message_batch_id="msgbatch_1")
    with pytest.raises(IntegrityError), transaction.atomic():
        make_part(batch, state="submitted", message_batch_id="msgbatch_1")


def test_nonces_are_drawn_anew(batch):
    nonces = {make_part(batch, size).nonce for size in range(1, 6)}
    assert len(nonces) == 5
    assert all(len(nonce) == 8 and nonce.isascii() for nonce in nonces)


def test_rows_add_up_over_parts_in_every_state(batch):
    for size, state in enumerate(MessageBatch.State, 2):
        part = make_part(batch, size, state)
        if state in ("stored", "lost"):
            kinds = ["succeeded", "errored", "canceled", "expired", "missing"] * 3
            answer(part, *kinds[:size])
        if state == "incomplete":
            answer(part, "succeeded", "errored", "newer_than_us")
    counted(batch)
    sizes = {part.state: part.size for part in MessageBatch.objects.all()}
    waiting = ["queued", "sending", "unknown", "submitted", "incomplete"]
    assert batch.not_sent == sizes["rejected"] + sizes["dropped"]
    assert batch.sent == sum(sizes.values()) - batch.not_sent - sizes["building"]
    assert batch.waiting == sum(sizes[state] for state in waiting) - 3
    assert (batch.parts, batch.parts_ended) == (9, 4)


def test_rows_add_up_while_a_part_is_indexed(batch):
    answer(make_part(batch, state="submitted", processing_status="ended"), "succeeded", "errored")
    counted(batch)
    assert (batch.sent, batch.succeeded, batch.errored, batch.waiting) == (5, 1, 1, 3)


def test_unknown_type_counts_as_errored(batch):
    answer(make_part(batch, state="stored"), "succeeded", *["refused_by_a_newer_api"] * 4)
    counted(batch)
    assert (batch.succeeded, batch.errored, batch.state) == (1, 4, "ended")


def test_retried_results_count_no_more(batch):
    part = make_part(batch, state="stored")
    answer(part, *["errored"] * 5)
    Result.objects.filter(row__gt=3).update(retried_in=part.run)
    part.answers = part.count_answers()
    part.save()
    counted(batch)
    assert (batch.errored, batch.sent) == (2, 2)


def test_replaced_part_counts_no_more(batch):
    old = make_part(batch, state="dropped")
    make_part(batch, state="queued", replaces=old)
    counted(batch)
    assert (batch.parts, batch.not_sent, batch.sent) == (1, 0, 5)


@pytest.mark.parametrize("unsent", ["dropped", "rejected"])
def test_part_that_was_found_counts_where_its_replacement_was_not_sent(batch, unsent):
    found = make_part(batch, state="stored")
    answer(found, *["succeeded"] * 5)
    make_part(batch, state=unsent, replaces=found, rows=rows_of(found))
    counted(batch)
    assert (batch.parts, batch.not_sent, batch.sent, batch.succeeded) == (1, 0, 5, 5)


def test_rows_of_a_dropped_part_that_are_chosen_again_count_once(batch):
    dropped = make_part(batch, state="dropped")
    later = Run.objects.create(batch=batch, token="rest", state="built", recipe={})
    make_part(batch, 2, run=later, rows=[3, 4])
    counted(batch)
    assert (batch.not_sent, batch.sent) == (dropped.size - 2, 2)


def test_tokens_of_all_attempts_are_paid(batch):
    old = make_part(batch, state="lost", tokens={"input_tokens": 5, "output_tokens": 1})
    make_part(batch, state="stored", replaces=old, tokens={"input_tokens": 2})
    counted(batch)
    assert (batch.tokens["input_tokens"], batch.tokens["output_tokens"]) == (7, 1)


WORDS = [
    ({"state": "queued"}, "queued"),
    ({"state": "queued", "cancel_requested_at": now()}, "canceling"),
    ({"state": "sending"}, "sending"),
    ({"state": "unknown"}, "sending"),
    ({"state": "unknown", "settled_at": now()}, "needs_you"),
    ({"state": "submitted", "processing_status": "in_progress"}, "in_progress"),
    ({"state": "submitted", "processing_status": "a_newer_word"}, "in_progress"),
    ({"state": "submitted", "processing_status": "ended"}, "collecting"),
    ({"state": "incomplete", "processing_status": "ended"}, "collecting"),
    ({"state": "stored"}, "ended"),
    ({"state": "rejected"}, "ended"),
    ({"state": "dropped"}, "ended"),
    ({"state": "lost"}, "ended"),
]


@pytest.mark.parametrize(("fields", "word"), WORDS)
def test_word_of_the_batch(batch, fields, word):
    make_part(batch, 6, state="stored")
    make_part(batch, **fields)
    assert counted(batch).state == word


def test_worst_word_is_said(batch):
    expected = ["queued", "collecting", "in_progress", "sending", "needs_you"]
    words = {word: fields for fields, word in WORDS}
    for size, word in enumerate(expected, 1):
        make_part(batch, size, **words[word])
        assert counted(batch).state == word


def test_batch_without_parts(batch):
    assert counted(batch).state == "draft"
    run = Run.objects.create(batch=batch, token="1", state="queued", recipe={})
    assert counted(batch).state == "building"
    run.state = "refused"
    run.save()
    assert counted(Batch.objects.get()).state == "refused"


def endings(batch):
    return list(Event.objects.filter(verb="batch_ended").values_list("sentence", flat=True))


def test_the_end_is_told_once_and_once_more_for_another_run(batch):
    first, second = (make_part(batch, size, "submitted") for size in (3, 2))
    answer(first, "succeeded", "succeeded", "errored")
    first.move("stored", at=now())
    assert endings(batch) == []
    answer(second, "succeeded", "succeeded")
    second.move("stored", at=now())
    batch.recount()
    Batch.objects.get(pk=batch.pk).recount()
    assert endings(batch) == ["Ended: 4 of 5 succeeded."]
    rest = make_part(batch, 1, "submitted")
    answer(rest, "succeeded")
    rest.move("stored", at=now())
    assert endings(batch) == ["Ended: 4 of 5 succeeded.", "Ended: 5 of 6 succeeded."]


def test_the_end_is_untold_where_the_change_is_undone(batch):
    part = make_part(batch, 2, "submitted")
    with transaction.atomic():
        part.move("lost")
        assert endings(batch)
        transaction.set_rollback(True)
    assert endings(batch) == []


def test_the_end_of_what_was_never_sent(batch):
    make_part(batch).move("dropped")
    assert endings(batch) == ["Ended: nothing sent."]
