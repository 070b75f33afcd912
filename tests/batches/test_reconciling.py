from datetime import timedelta

import msgspec
import pytest

from batches import (
    archive,
    building,
    cancelling,
    collecting,
    deciding,
    polling,
    reconciling,
    submitting,
)
from batches.asking import questions
from batches.calling import client_for
from batches.cancelling import request_cancel
from batches.models import MessageBatch, Run
from tests.batches.stage import (
    HOUR,
    MINUTE,
    body_of,
    foreign_body,
    make_batch,
    make_part,
    now,
    remote,
    result_line,
    rows_of,
)
from tests.scripted_api import BATCHES, Reply, page, refusal
from workspaces.models import Event

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
SECOND = timedelta(seconds=1)


def make_unanswered(batch, state="unknown", **fields):
    """A part whose POST has no answer: by default nothing of it is at the API."""
    at = now()
    times = {"sent_at": at, "unknown_at": at if state == "unknown" else None}
    return make_part(batch, state=state, **{**times, **fields})


def look(part, *minutes):
    """Let reconciling look at the part so many minutes from now, the last time included."""
    for minute in minutes:
        assert reconciling.step(now() + minute * MINUTE)
    part.refresh_from_db()
    return part


@pytest.fixture
def part(at_sandbox, workspace):
    return make_unanswered(make_batch(workspace))


def account_of(sandbox_scope):
    return "wrkspc_" + sandbox_scope.secret.split("-")[2]


def test_it_works(at_sandbox, part):
    """K5, K6: the batch exists, its answer is lost; found by listing, proven once it ended."""
    head = at_sandbox.create(foreign_body(5))
    MessageBatch.objects.update(list_head=head)
    at_sandbox.change(batch_seconds=1_000)
    ours = at_sandbox.create(body_of(part))
    look(part, 0)
    assert (part.state, part.message_batch_id) == ("unknown", None)
    [candidate] = part.candidates
    assert (candidate["id"], candidate["ours"]) == (ours, None)
    assert candidate["processing_status"] == "in_progress"
    at_sandbox.change(clock_offset=2_000)
    look(part, 2)
    assert (part.state, part.message_batch_id) == ("submitted", ours)
    assert (part.processing_status, part.succeeded, part.batch.state) == ("ended", 5, "collecting")
    assert len(at_sandbox.ledger()["creates"]) == 2


def test_in_progress_match_is_never_settled(at_sandbox, part):
    at_sandbox.change(batch_seconds=80_000)
    at_sandbox.create(body_of(part))
    look(part, 0, 1, 2, 30, 60)
    assert (part.state, part.settled_at, part.needs_person) == ("unknown", None, False)
    assert part.batch.state == "sending"


def test_answer_in_the_archive_is_replayed_without_asking(api, workspace):
    """K7: the journal was written, the database was not."""
    past = now() - MINUTE
    part = make_unanswered(make_batch(workspace), state="sending", lease_until=past, owner="x:1")
    created = {"nonce": part.nonce, "request_id": "req_1", "message_batch": remote("msgbatch_1")}
    with archive.writing(archive.created(part.pk)) as file:
        file.write(msgspec.json.encode(created))
    look(part, 0)
    assert (part.state, part.message_batch_id) == ("submitted", "msgbatch_1")
    assert (part.lease_until, part.processing, api.connections) == (None, 5, 0)


def test_answer_of_another_part_is_not_believed(api, workspace):
    part = make_unanswered(make_batch(workspace), state="sending")
    created = {"nonce": "aaaaaaaa", "request_id": "", "message_batch": remote("msgbatch_1")}
    with archive.writing(archive.created(part.pk)) as file:
        file.write(msgspec.json.encode(created))
    look(part, 0)
    assert part.state == "unknown"


def test_sender_that_died_leaves_an_unknown_outcome(api, workspace):
    """K3 to K6 look the same from here."""
    held = now() + timedelta(seconds=20)
    part = make_unanswered(make_batch(workspace), state="sending", owner="x:1", lease_until=held)
    assert not reconciling.step(now())
    look(part, 1)
    assert (part.state, part.crashes, part.lease_until) == ("unknown", 0, None)
    assert "died before it had the answer" in part.reason
    assert api.connections == 0


def test_nothing_there_is_put_before_a_person_after_settling(at_sandbox, part):
    look(part, 0, 2, 10)
    assert (part.listings, part.settled_at, part.batch.state) == (3, None, "sending")
    look(part, 16)
    assert part.needs_person
    assert part.batch.state == "needs_you"
    assert Event.objects.filter(verb="ask").count() == 1
    first = part.settled_at
    look(part, 18)
    assert (part.settled_at, Event.objects.filter(verb="ask").count()) == (first, 1)
    assert at_sandbox.ledger()["creates"] == []


def test_few_listings_do_not_settle(at_sandbox, part):
    look(part, 20, 22)
    assert part.settled_at is None
    look(part, 24)
    assert part.needs_person


def test_listings_are_apart(at_sandbox, part):
    look(part, 0)
    assert not reconciling.step(now() + 50 * SECOND)
    assert reconciling.step(now() + 61 * SECOND)


def test_late_match_is_found_after_the_question(at_sandbox, part):
    look(part, 0, 2, 16)
    ours = at_sandbox.create(body_of(part))
    at_sandbox.change(clock_offset=100)
    look(part, 20)
    assert (part.state, part.message_batch_id) == ("submitted", ours)
    assert part.batch.state == "collecting"


def test_looking_ends_after_two_days_with_a_question(at_sandbox, part):
    """A look-alike that can never be read does not keep the person from being asked."""
    at_sandbox.change(batch_seconds=10**8)
    at_sandbox.create(foreign_body(5))
    at_sandbox.change(clock_offset=30 * 24 * 3600)
    look(part, 0, 2, 20, 49 * 60)
    assert part.due_at is None
    assert part.needs_person


def test_foreign_look_alike_is_detached(at_sandbox, part):
    theirs = at_sandbox.create(foreign_body(5))
    at_sandbox.change(clock_offset=100)
    look(part, 0)
    assert [(c["id"], c["ours"]) for c in part.candidates] == [(theirs, False)]
    look(part, 2, 16)
    assert part.needs_person


def test_one_of_two_candidates_is_proven(at_sandbox, part):
    at_sandbox.create(foreign_body(5))
    ours = at_sandbox.create(body_of(part))
    at_sandbox.create(foreign_body(5))
    look(part, 0)
    assert len(part.candidates) == 3
    assert part.state == "unknown"
    at_sandbox.change(clock_offset=100)
    look(part, 2)
    assert (part.state, part.message_batch_id) == ("submitted", ours)


def test_only_batches_of_our_size_newer_than_the_head_count(at_sandbox, part):
    at_sandbox.create(body_of(part))  # before the head: an attempt of somebody else
    head = at_sandbox.create(foreign_body(1))
    MessageBatch.objects.update(list_head=head)
    at_sandbox.create(foreign_body(6))
    at_sandbox.change(clock_offset=100)
    look(part, 0)
    assert (part.state, part.candidates) == ("unknown", [])


def test_batch_of_another_part_is_no_candidate(at_sandbox, part):
    known = at_sandbox.create(foreign_body(5))
    make_part(part.batch, state="submitted", message_batch_id=known)
    look(part, 0)
    assert part.candidates == []


def test_deleted_list_head_falls_back_to_the_clock(at_sandbox, part):
    head = at_sandbox.create(foreign_body(1))
    MessageBatch.objects.update(list_head=head)
    ours = at_sandbox.create(body_of(part))
    at_sandbox.change(clock_offset=100)
    at_sandbox.delete(head)
    look(part, 0)
    assert (part.state, part.message_batch_id) == ("submitted", ours)


def test_pages_before_the_head_are_all_read(api, workspace):
    part = make_unanswered(make_batch(workspace), list_head="msgbatch_0")
    near, far = remote("msgbatch_1", 9), remote("msgbatch_2")
    api.plan("GET", BATCHES, page(near, has_more=True), page(far))
    look(part, 0)
    assert [candidate["id"] for candidate in part.candidates] == ["msgbatch_2"]
    assert [request.query.partition("&")[2] for request in api.requests] == [
        "before_id=msgbatch_0",
        "before_id=msgbatch_1",
    ]


def test_of_a_foreign_batch_only_the_first_line_is_judged(api, workspace):
    part = make_unanswered(make_batch(workspace))
    lines = [result_line("theirs"), result_line(part.custom_id(2))]
    api.plan("GET", BATCHES, page(remote("msgbatch_1", status="ended")))
    api.plan("GET", f"{BATCHES}/msgbatch_1/results", Reply(b"".join(lines)))
    look(part, 0)
    assert [candidate["ours"] for candidate in part.candidates] == [False]
    assert list(archive.created(part.pk).parent.glob("results*")) == []
    look(part, 2)
    assert len(api.requests) == 3


@pytest.mark.parametrize("content", [b"<html>\n", b'{"custom_id":7}\n', b"x" * 34_000_000])
def test_unreadable_look_alike_does_not_stop_the_looking(api, workspace, content):
    part = make_unanswered(make_batch(workspace))
    ours = remote("msgbatch_2", status="ended")
    api.plan("GET", BATCHES, page(remote("msgbatch_1", status="ended"), ours))
    api.plan("GET", f"{BATCHES}/msgbatch_1/results", Reply(content))
    line = result_line(part.custom_id(2))
    api.plan("GET", f"{BATCHES}/msgbatch_2/results", Reply(line))
    look(part, 0)
    assert (part.state, part.message_batch_id) == ("submitted", "msgbatch_2")


@pytest.mark.parametrize(
    "answer", [refusal(529, "overloaded_error", "Overloaded"), Reply(b"<html>", 502)]
)
def test_failed_listing_counts_for_nothing(api, workspace, answer):
    part = make_unanswered(make_batch(workspace))
    api.plan("GET", BATCHES, answer)
    look(part, 0, 2, 20)
    assert (part.state, part.listings, part.settled_at) == ("unknown", 0, None)


def test_reason_outlives_a_missing_key(api, key, workspace):
    part = make_unanswered(make_batch(workspace), reason="We do not know.")
    key.__class__.objects.update(retired_at=now())
    look(part, 0)
    assert (part.state, part.listings, part.reason) == ("unknown", 0, "We do not know.")


def test_key_of_another_account_settles_nothing(at_sandbox, part):
    """What that key lists says nothing of the part: a person asked now might pay twice."""
    MessageBatch.objects.update(account="wrkspc_another")
    look(part, 0, 6, 16, 30)
    assert (part.state, part.listings, part.settled_at) == ("unknown", 0, None)
    [question] = questions(part.batch)
    assert "another Anthropic workspace" in question.sentence
    with pytest.raises(deciding.CannotResolve, match="Save that key first"):
        reconciling.adopt(part, at_sandbox.create(body_of(part)))


def test_adopt(at_sandbox, part):
    id = at_sandbox.create(body_of(part))
    reconciling.adopt(part, id)
    part.refresh_from_db()
    assert (part.state, part.message_batch_id, part.batch.state) == ("submitted", id, "in_progress")


def test_adopt_a_dropped_part(at_sandbox, part):
    id = at_sandbox.create(body_of(part))
    deciding.drop(part, now())
    reconciling.adopt(part, id)
    assert (part.state, part.batch.not_sent, part.batch.sent) == ("submitted", 0, 5)


def test_adopted_part_that_was_dropped_before_it_was_sent_is_watched(at_sandbox, workspace):
    part = make_part(make_batch(workspace), state="dropped", api="", account="")
    reconciling.adopt(part, at_sandbox.create(body_of(part)))
    assert (part.api, part.account) == ("sandbox", account_of(at_sandbox))
    at_sandbox.change(clock_offset=100)
    assert polling.step(now() + MINUTE)
    part.refresh_from_db()
    assert part.processing_status == "ended"


def test_adopt_refuses_results_of_others(at_sandbox, part):
    id = at_sandbox.create(foreign_body(5))
    at_sandbox.change(clock_offset=100)
    with pytest.raises(deciding.CannotResolve, match="its results carry other custom_ids"):
        reconciling.adopt(part, id)


def test_adopt_refuses_another_size(at_sandbox, part):
    id = at_sandbox.create(foreign_body(6))
    with pytest.raises(deciding.CannotResolve, match="holds 6 requests, part 1 has 5"):
        reconciling.adopt(part, id)


def test_adopt_refuses_what_is_another_part(at_sandbox, part):
    id = at_sandbox.create(body_of(part))
    make_part(part.batch, size=6, state="submitted", message_batch_id=id)
    with pytest.raises(deciding.CannotResolve, match="is another part already"):
        reconciling.adopt(part, id)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        *[("adopt", state) for state in ("queued", "sending", "submitted", "stored", "rejected")],
        *[("drop", state) for state in ("queued", "sending", "dropped", "lost", "rejected")],
        *[("send_again", state) for state in ("queued", "sending", "submitted", "stored")],
    ],
)
def test_answers_fit_only_an_open_question(workspace, answer, state):
    part = make_unanswered(make_batch(workspace), state=state)
    verb = {"adopt": reconciling.adopt, "drop": deciding.drop, "send_again": deciding.send_again}
    argument = "msgbatch_1" if answer == "adopt" else now()
    with pytest.raises(deciding.CannotResolve, match=f"Part 1 is {state}"):
        verb[answer](part, argument)
    part.refresh_from_db()
    assert part.state == state


def test_answer_that_comes_second_is_refused(at_sandbox, part):
    stale = MessageBatch.objects.get()
    deciding.drop(part, now())
    with pytest.raises(deciding.CannotResolve, match="Somebody else has decided"):
        deciding.drop(stale, now())


def test_dropped_rows_are_not_sent(at_sandbox, part):
    deciding.drop(part, now())
    batch = part.batch
    assert (part.state, part.reason) == ("dropped", deciding.DROPPED)
    assert (batch.not_sent, batch.sent, batch.state) == (5, 0, "ended")


def test_dropped_part_is_watched_for_two_days(at_sandbox, part):
    deciding.drop(part, now())
    look(part, 2, 60, 49 * 60)
    assert (part.state, part.due_at, part.needs_person) == ("dropped", None, False)
    assert at_sandbox.ledger()["creates"] == []


def test_dropped_part_that_turns_up_is_asked_about(at_sandbox, part):
    """Ours by the nonce of its first line; a foreign look-alike is not asked about."""
    deciding.drop(part, now())
    at_sandbox.create(foreign_body(5))
    ours = at_sandbox.create(body_of(part))
    look(part, 2)
    assert part.turned_up is None, "nobody knows yet whose they are"
    at_sandbox.change(clock_offset=100)
    look(part, 4)
    assert part.turned_up["id"] == ours
    assert (part.state, part.due_at, part.batch.state) == ("dropped", None, "needs_you")
    [question] = questions(part.batch)
    assert question.turned_up == ours
    assert f"A batch of part 1 turned up after all: {ours}" in question.sentence
    assert "its 5 answers are billed" in question.sentence
    assert Event.objects.filter(verb="ask").count() == 1


def turn_up(at_sandbox, part):
    deciding.drop(part, now())
    id = at_sandbox.create(body_of(part))
    at_sandbox.change(clock_offset=100)
    look(part, 2)
    return id


def test_what_turned_up_may_be_kept(at_sandbox, part):
    id = turn_up(at_sandbox, part)
    deciding.ask_to_adopt(part, id, now())
    look(part, 4)
    assert (part.state, part.message_batch_id, part.adopt_id) == ("submitted", id, "")
    while collecting.step(now() + HOUR):
        pass
    batch = part.batch
    batch.refresh_from_db()
    assert (batch.state, batch.succeeded, batch.not_sent) == ("ended", 5, 0)


def test_what_turned_up_may_be_left(at_sandbox, part):
    turn_up(at_sandbox, part)
    deciding.leave(part, now())
    part.refresh_from_db()
    assert (part.state, part.turned_up, part.batch.state) == ("dropped", None, "ended")
    assert not reconciling.step(now() + HOUR)
    with pytest.raises(deciding.CannotResolve, match="Nothing of part 1 has turned up"):
        deciding.leave(part, now())


def test_answer_that_arrives_after_the_part_was_dropped_is_found(api, workspace):
    """The sender was only slow: its part was declared unknown and dropped meanwhile."""
    part = make_unanswered(make_batch(workspace))
    deciding.drop(part, now())
    created = {"nonce": part.nonce, "request_id": "req_1", "message_batch": remote("msgbatch_1")}
    with archive.writing(archive.created(part.pk)) as file:
        file.write(msgspec.json.encode(created))
    look(part, 2)
    assert (part.turned_up["id"], part.batch.state) == ("msgbatch_1", "needs_you")
    assert api.connections == 0
    deciding.ask_to_adopt(part, "msgbatch_1", now(), cancel=True)
    api.plan("GET", f"{BATCHES}/msgbatch_1", Reply(remote("msgbatch_1")))
    look(part, 4)
    assert part.state == "submitted"
    canceling = Reply(remote("msgbatch_1", status="canceling"))
    api.plan("POST", f"{BATCHES}/msgbatch_1/cancel", canceling)
    assert cancelling.step(now() + HOUR)
    part.refresh_from_db()
    assert (part.processing_status, part.batch.state) == ("canceling", "canceling")


def test_worker_asks_the_api_for_what_a_person_named(at_sandbox, part):
    id = at_sandbox.create(body_of(part))
    deciding.ask_to_adopt(part, id, now())
    assert (part.state, part.adopt_id) == ("unknown", id)
    look(part, 0)
    assert (part.state, part.message_batch_id, part.adopt_id) == ("submitted", id, "")


@pytest.mark.parametrize("fault", ["size", "nonce", "unknown id"])
def test_what_cannot_be_the_part_is_refused_and_said(at_sandbox, part, fault):
    if fault == "unknown id":
        id = "msgbatch_01nothere"
    else:
        id = at_sandbox.create(foreign_body(6 if fault == "size" else 5))
        at_sandbox.change(clock_offset=100)
    deciding.ask_to_adopt(part, id, now())
    look(part, 0)
    assert (part.state, part.adopt_id, part.message_batch_id) == ("unknown", "", None)
    said = {"size": "holds 6 requests", "nonce": "other custom_ids", "unknown id": "answers 404"}
    event = Event.objects.get(verb="not_adopted")
    assert said[fault] in event.sentence
    assert event.sentence.startswith(f"{id} was not taken for part 1: ")
    assert part.due_at > now(), "it is still looked for"


def test_what_is_named_wrongly_after_two_days_ends_in_a_question(at_sandbox, part):
    """No worker has looked in all that time, so nobody was asked."""
    id = at_sandbox.create(foreign_body(6))
    late = 49 * 60
    deciding.ask_to_adopt(part, id, now() + late * MINUTE)
    look(part, late)
    assert not part.needs_person
    look(part, late + 1)
    assert (part.needs_person, part.due_at) == (True, None)


def test_api_that_does_not_answer_keeps_the_wish(api, workspace):
    part = make_unanswered(make_batch(workspace))
    deciding.ask_to_adopt(part, "msgbatch_1", now())
    api.plan("GET", f"{BATCHES}/msgbatch_1", refusal(529, "overloaded_error", "Overloaded"))
    look(part, 0)
    assert (part.state, part.adopt_id) == ("unknown", "msgbatch_1")
    api.plan("GET", f"{BATCHES}/msgbatch_1", Reply(remote("msgbatch_1")))
    look(part, 2)
    assert part.message_batch_id == "msgbatch_1"


def test_run_that_was_queued_while_the_api_was_asked_keeps_the_part_from_being_taken(
    api, workspace
):
    """It may have chosen the same rows already: they would be paid twice without a word."""
    part = make_unanswered(make_batch(workspace))
    deciding.drop(part, now())

    def queue_meanwhile(request):
        Run.objects.create(batch=part.batch, token="rest", state="queued", recipe={})
        return Reply(remote("msgbatch_1"))

    deciding.ask_to_adopt(part, "msgbatch_1", now())
    api.plan("GET", f"{BATCHES}/msgbatch_1", queue_meanwhile)
    look(part, 0)
    assert (part.state, part.message_batch_id, part.adopt_id) == ("dropped", None, "")
    said = Event.objects.get(verb="not_adopted").sentence
    assert said.startswith("msgbatch_1 was not taken for part 1: Part 1 is about to be sent again.")


def test_decision_goes_before_a_worker_that_is_looking(at_sandbox, part):
    looking = MessageBatch.objects.claim("worker", now())
    deciding.drop(part, now())
    assert not reconciling.take(looking, polled(at_sandbox, part), "It is ours.")
    part.refresh_from_db()
    assert part.state == "dropped"


def polled(at_sandbox, part):
    at_sandbox.create(body_of(part))
    with client_for(part.workspace.live_key()) as client:
        return client.list_batches().data[0]


def test_decision_that_a_worker_has_overtaken_is_refused(at_sandbox, part):
    looking = MessageBatch.objects.claim("worker", now())
    assert reconciling.take(looking, polled(at_sandbox, part), "It is ours.")
    with pytest.raises(deciding.CannotResolve, match="Somebody else has decided"):
        deciding.drop(part, now())


@pytest.fixture
def built(at_sandbox, workspace):
    """A part that the stages themselves have built and whose outcome is unknown."""
    batch = make_batch(workspace, ["a", "b", "c"])
    run = Run.objects.create(
        batch=batch, token="first", state="queued", due_at=now(), recipe=batch.recipe
    )
    assert building.step(now())
    MessageBatch.objects.update(
        state="unknown", unknown_at=now(), sent_at=now(), account=account_of(at_sandbox)
    )
    return run.message_batches.get()


def test_send_again_replaces_the_part(at_sandbox, built):
    deciding.send_again(built, now())
    assert built.batch.state == "building"
    assert building.step(now())
    assert submitting.step(now())
    again = MessageBatch.objects.get(replaces=built)
    assert (again.state, again.part, again.size) == ("submitted", built.part, 3)
    assert again.nonce != built.nonce
    assert rows_of(again) == rows_of(built)
    batch = again.batch
    assert (batch.sent, batch.not_sent, batch.parts) == (3, 0, 1)
    assert len(at_sandbox.ledger()["creates"]) == 1


def test_adopt_waits_until_nothing_is_about_to_be_sent_again(at_sandbox, built):
    deciding.send_again(built, now())
    id = at_sandbox.create(body_of(built))
    for _ in range(2):
        with pytest.raises(deciding.CannotResolve, match="is about to be sent again"):
            reconciling.adopt(built, id)
        building.step(now())
    cancelling.request_cancel(built.batch, now())
    reconciling.adopt(built, id)
    assert (built.state, built.batch.sent, built.batch.not_sent) == ("submitted", 3, 0)


def test_send_again_only_once(built):
    deciding.send_again(built, now())
    with pytest.raises(deciding.CannotResolve, match="was sent again already"):
        deciding.send_again(MessageBatch.objects.get(), now())


def test_send_again_after_that_was_canceled(built):
    deciding.send_again(built, now())
    request_cancel(built.batch, now())
    assert building.step(now())
    deciding.send_again(MessageBatch.objects.get(), now())
    assert building.step(now())
    assert MessageBatch.objects.get(state="queued").replaces_id == built.pk
    with pytest.raises(deciding.CannotResolve, match="was sent again already"):
        deciding.send_again(MessageBatch.objects.get(pk=built.pk), now())


@pytest.mark.parametrize("left", [False, True])
def test_rows_of_what_turned_up_are_sent_by_no_run_until_somebody_has_said_so(built, left):
    deciding.drop(built, now())
    found = {"id": "msgbatch_1", "ours": True, "left": left}
    MessageBatch.objects.update(candidates=[found])
    for selection in ({"kind": "rest"}, {"kind": "retry", "types": ["not_sent"]}):
        run = Run.objects.create(
            batch=built.batch,
            token=selection["kind"],
            state="queued",
            due_at=now(),
            recipe=built.batch.recipe,
            selection=selection,
        )
        assert building.step(now())
        run.refresh_from_db()
        assert run.state == ("built" if left else "refused")
        run.message_batches.all().delete()


def test_send_again_while_another_run_is_built(built):
    Run.objects.create(batch=built.batch, token="rest", state="queued", recipe={})
    with pytest.raises(deciding.CannotResolve, match="another run of this batch"):
        deciding.send_again(built, now())
    built.refresh_from_db()
    assert built.state == "unknown"


def test_rows_that_another_run_has_sent_are_not_sent_again(at_sandbox, built):
    deciding.drop(built, now())
    Run.objects.create(
        batch=built.batch, token="rest", state="queued", due_at=now(), recipe=built.batch.recipe
    )
    assert building.step(now())
    deciding.send_again(built, now())
    assert building.step(now())
    assert Run.objects.get(selection__part=built.pk).state == "refused"
    assert MessageBatch.objects.filter(state="queued").count() == 1


def test_late_part_whose_rows_another_run_has_sent_counts_no_row_twice(at_sandbox, built):
    """Rows of a dropped part were chosen again: both are paid, each row counts once all along."""
    at_sandbox.change(batch_seconds=1_000)
    deciding.drop(built, now())
    Run.objects.create(
        batch=built.batch, token="rest", state="queued", due_at=now(), recipe=built.batch.recipe
    )
    assert building.step(now())
    assert submitting.step(now())
    deciding.ask_to_adopt(built, at_sandbox.create(body_of(built)), now())
    assert reconciling.step(now())
    batch = built.batch
    batch.refresh_from_db()
    assert (batch.sent, batch.waiting, batch.parts, batch.state) == (3, 3, 2, "in_progress")
    at_sandbox.change(clock_offset=5_000)
    assert polling.step(now() + MINUTE)
    for _ in range(2):
        assert collecting.step(now() + MINUTE)
        batch.refresh_from_db()
        assert (batch.sent, batch.answered + batch.waiting) == (3, 3)
    assert (batch.succeeded, batch.state) == (3, "ended")


def test_adopted_after_sending_again_counts_each_row_once(at_sandbox, built):
    """The first attempt turns up late: both are paid, the newest of a row counts."""
    at_sandbox.change(batch_seconds=0)
    deciding.send_again(built, now())
    assert building.step(now())
    assert submitting.step(now())
    reconciling.adopt(built, at_sandbox.create(body_of(built)))
    assert polling.step(now() + MINUTE)
    while collecting.step(now() + MINUTE):
        pass
    batch = built.batch
    batch.refresh_from_db()
    assert (batch.sent, batch.parts, batch.succeeded) == (3, 1, 3)
    assert batch.state == "ended"
