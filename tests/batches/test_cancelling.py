import pytest

from batches import (
    building,
    cancelling,
    collecting,
    deciding,
    polling,
    reconciling,
    submitting,
)
from batches.cancelling import request_cancel
from batches.models import MessageBatch, Request, Run
from leases.models import CRASH_LIMIT, LEASE
from leases.renewing import LeaseLost, Renewal
from tests.batches.stage import HOUR, MINUTE, body_of, make_batch, make_part, now, remote
from tests.scripted_api import BATCHES, Reply, page, refusal
from workspaces.models import Event

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


@pytest.fixture
def batch(workspace):
    return make_batch(workspace, "abc")


def make_sent(batch, **fields):
    mirrored = {"processing_status": "in_progress", "processing": 5, "created_at": now()}
    return make_part(
        batch, state="submitted", **{"message_batch_id": "msgbatch_1", **mirrored, **fields}
    )


def test_it_works(at_sandbox, batch):
    """Submitted, cancelled, ended, collected: what was paid is kept."""
    at_sandbox.change(batch_seconds=1_000)
    part = make_part(batch, 60)
    assert submitting.step(now())
    at_sandbox.change(clock_offset=250)  # a batch takes half of its seconds at least
    assert request_cancel(batch, now()) == 1
    batch.refresh_from_db()
    assert batch.state == "canceling"
    assert cancelling.step(now())
    part.refresh_from_db()
    assert part.processing_status in ("canceling", "ended")
    assert part.cancel_initiated_at is not None
    assert not cancelling.step(now() + HOUR)
    at_sandbox.change(clock_offset=2_000)
    assert polling.step(now() + HOUR)
    assert collecting.step(now() + HOUR)
    batch.refresh_from_db()
    assert (batch.state, batch.sent) == ("ended", 60)
    assert batch.canceled > 0
    assert batch.succeeded + batch.canceled == 60
    assert len(at_sandbox.ledger()["cancels"]) == 1


def test_queued_parts_are_dropped_on_the_spot(api, batch):
    part = make_part(batch)
    request_cancel(batch, now())
    part.refresh_from_db()
    batch.refresh_from_db()
    assert (part.state, part.reason) == ("dropped", "Canceled before it was sent.")
    assert (batch.state, batch.not_sent, batch.sent) == ("ended", 5, 0)
    assert not submitting.step(now() + HOUR)
    assert not cancelling.step(now() + HOUR)
    assert api.connections == 0


def test_part_that_a_worker_is_about_to_send_is_taken_from_it(api, batch):
    part = make_part(batch)
    held = MessageBatch.objects.filter(state="queued").claim("me", now())
    request_cancel(batch, now())
    api.plan("GET", BATCHES, refusal(529, "overloaded_error", "Overloaded"))
    submitting.submit(held, Renewal(held), now())
    part.refresh_from_db()
    assert (part.state, part.reason) == ("dropped", "Canceled before it was sent.")
    assert (part.due_at, part.owner, part.lease_until) == (None, "", None)
    assert not reconciling.step(now() + HOUR)


def test_unknown_part_is_cancelled_once_it_is_found(at_sandbox, batch):
    part = make_part(batch, state="unknown", unknown_at=now(), sent_at=now())
    at_sandbox.change(batch_seconds=1_000)
    id = at_sandbox.create(body_of(part))
    assert request_cancel(batch, now()) == 1
    assert not cancelling.step(now())
    reconciling.adopt(MessageBatch.objects.get(), id)
    assert cancelling.step(now())
    assert [cancel["id"] for cancel in at_sandbox.ledger()["cancels"]] == [id]


def test_part_that_is_being_sent_is_cancelled_once_it_is_there(api, batch):
    def cancel_meanwhile(request):
        request_cancel(batch, now())
        return Reply(remote("msgbatch_1"))

    part = make_part(batch)
    api.plan("GET", BATCHES, page())
    api.plan("POST", BATCHES, cancel_meanwhile)
    assert submitting.step(now())
    part.refresh_from_db()
    assert (part.state, part.cancel_requested_at is None) == ("submitted", False)
    canceled = remote("msgbatch_1", status="canceling")
    api.plan("POST", f"{BATCHES}/msgbatch_1/cancel", Reply(canceled))
    assert cancelling.step(now() + MINUTE)
    part.refresh_from_db()
    assert part.processing_status == "canceling"


def test_part_that_could_not_be_sent_meanwhile_is_dropped(api, batch):
    def cancel_meanwhile(request):
        request_cancel(batch, now())
        return refusal(429, "rate_limit_error", "Slow down.")

    part = make_part(batch)
    api.plan("GET", BATCHES, page())
    api.plan("POST", BATCHES, cancel_meanwhile)
    assert submitting.step(now())
    assert not submitting.step(now() + HOUR)
    assert cancelling.step(now() + HOUR)
    part.refresh_from_db()
    batch.refresh_from_db()
    assert (part.state, batch.state, batch.not_sent) == ("dropped", "ended", 5)
    assert len(api.paths("POST")) == 1


def make_run(batch):
    state, due_at = Run.State.QUEUED, now()
    return Run.objects.create(
        batch=batch, token="run", recipe=batch.recipe, state=state, due_at=due_at
    )


def test_run_that_waits_is_refused(batch):
    run = make_run(batch)
    request_cancel(batch, now())
    run.refresh_from_db()
    batch.refresh_from_db()
    assert (run.state, run.reason) == ("refused", "Canceled before it was built.")
    assert batch.state == "refused"
    assert Event.objects.get(verb="cancel").sentence == "Canceled before it was built."
    assert building.step(now() + HOUR), "there may be something to remove"
    assert not building.step(now() + HOUR)
    assert not MessageBatch.objects.exists()


def test_run_that_is_being_built_is_not_queued(batch):
    make_run(batch)
    run = Run.objects.claim("me", now())
    part = building.create_part(run, 1, None, Renewal(run))
    request_cancel(batch, now())
    with pytest.raises(LeaseLost):
        building.build(run, Renewal(run), now())
    building.queue(run, [part], building.Survey(), now())
    run.refresh_from_db()
    assert run.state == "refused"
    assert not MessageBatch.objects.filter(state="queued").exists()
    assert not submitting.step(now() + HOUR)


def test_rows_of_a_cancelled_run_may_be_chosen_again(batch):
    make_run(batch)
    run = Run.objects.claim("me", now())
    part = building.create_part(run, 1, None, Renewal(run))
    building.write_part(part, building.render_chosen(run, {2, 3}), Renewal(run))
    request_cancel(batch, now())
    assert building.step(now() + 2 * LEASE)
    assert not Request.objects.exists(), "what was begun is removed"
    Run.objects.create(batch=batch, token="next", recipe=batch.recipe, state="queued", due_at=now())
    assert building.step(now() + 2 * LEASE)
    assert [part.size for part in MessageBatch.objects.all()] == [3]


def test_what_a_run_had_begun_that_was_set_aside_is_removed(batch):
    make_run(batch)
    run = Run.objects.claim("me", now())
    part = building.create_part(run, 1, None, Renewal(run))
    building.write_part(part, building.render_chosen(run, {2, 3}), Renewal(run))
    Run.objects.update(owner="", lease_until=None, crashes=CRASH_LIMIT)
    request_cancel(batch, now())
    assert building.step(now())
    assert not Request.objects.exists()
    assert not MessageBatch.objects.exists()


def test_ended_parts_stay_as_they_are(api, batch):
    make_sent(batch, processing_status="ended", succeeded=5)
    make_part(batch, 6, "stored")
    assert request_cancel(batch, now()) == 0
    assert not cancelling.step(now() + HOUR)
    assert not Event.objects.exists()


def test_cancelling_twice_tells_the_api_once(api, batch):
    make_sent(batch)
    canceled = remote("msgbatch_1", status="canceling") | {"cancel_initiated_at": now().isoformat()}
    api.plan("POST", f"{BATCHES}/msgbatch_1/cancel", Reply(canceled))
    assert request_cancel(batch, now()) == 1
    assert request_cancel(batch, now()) == 0
    assert cancelling.step(now())
    assert not cancelling.step(now() + HOUR)
    assert Event.objects.filter(verb="cancel").count() == 1


@pytest.mark.parametrize(
    "answer",
    [
        refusal(529, "overloaded_error", "Overloaded"),
        refusal(400, "invalid_request_error", "No."),
        refusal(401, "authentication_error", "invalid x-api-key"),
        Reply(b"<html>", 502),
        Reply(remote("msgbatch_1"), cut=10),
    ],
)
def test_failed_cancel_is_tried_again(api, batch, answer):
    part = make_sent(batch)
    request_cancel(batch, now())
    api.plan("POST", f"{BATCHES}/msgbatch_1/cancel", answer)
    api.plan("GET", f"{BATCHES}/msgbatch_1", Reply(remote("msgbatch_1")))
    assert cancelling.step(now())
    part.refresh_from_db()
    assert (part.state, part.lease_until) == ("submitted", None)
    assert part.reason.startswith("Not canceled yet: ")
    assert not cancelling.step(now())
    assert cancelling.step(now() + 6 * MINUTE)


@pytest.mark.parametrize(
    "answer",
    [
        refusal(400, "invalid_request_error", "Batch msgbatch_1 has already ended."),
        refusal(404, "not_found_error", "No such batch."),
        Reply(remote("msgbatch_1"), cut=10),
    ],
    ids=["400", "404", "the answer is lost"],
)
def test_cancel_of_what_has_ended_already_finds_that_out(api, batch, answer):
    part = make_sent(batch)
    request_cancel(batch, now())
    api.plan("POST", f"{BATCHES}/msgbatch_1/cancel", answer)
    api.plan("GET", f"{BATCHES}/msgbatch_1", Reply(remote("msgbatch_1", status="ended")))
    assert cancelling.step(now())
    part.refresh_from_db()
    assert (part.processing_status, part.succeeded, part.reason) == ("ended", 5, "")
    assert not cancelling.step(now() + HOUR)


def test_batch_that_the_api_does_not_know_is_given_up_and_not_canceled_for_ever(api, batch):
    part = make_sent(batch)
    request_cancel(batch, now())
    unknown = refusal(404, "not_found_error", "No such batch.")
    api.plan("POST", f"{BATCHES}/msgbatch_1/cancel", unknown)
    api.plan("GET", f"{BATCHES}/msgbatch_1", unknown)
    for minutes in (0, 6, 12):
        assert cancelling.step(now() + minutes * MINUTE)
    part.refresh_from_db()
    assert part.not_found == 3
    assert collecting.step(now() + 12 * MINUTE)
    part.refresh_from_db()
    assert (part.state, part.batch.state) == ("lost", "ended")


def test_key_of_another_account_cancels_nothing(api, key, batch):
    part = make_sent(batch, account="wrkspc_another")
    key.__class__.objects.update(anthropic_workspace="wrkspc_ours")
    request_cancel(batch, now())
    assert cancelling.step(now())
    part.refresh_from_db()
    assert "another Anthropic workspace" in part.reason
    assert api.connections == 0


def test_refused_key_keeps_the_wish_until_it_works(api, batch):
    part = make_sent(batch)
    request_cancel(batch, now())
    canceled = Reply(remote("msgbatch_1", status="canceling"))
    refused = refusal(401, "authentication_error", "invalid x-api-key")
    api.plan("POST", f"{BATCHES}/msgbatch_1/cancel", refused, canceled)
    assert cancelling.step(now())
    batch.refresh_from_db()
    assert batch.state == "needs_you"
    assert cancelling.step(now() + 6 * MINUTE)
    part.refresh_from_db()
    assert part.processing_status == "canceling"


def test_unknown_part_is_found_canceled_and_collected(at_sandbox, batch):
    """Canceled while nobody knew whether it was created: what was paid is kept."""
    part = make_part(batch, 40, state="unknown", unknown_at=now(), sent_at=now())
    at_sandbox.change(batch_seconds=1_000)
    body = body_of(part)
    id = at_sandbox.create(body)
    request_cancel(batch, now())
    deciding.ask_to_adopt(MessageBatch.objects.get(), id, now())
    assert reconciling.step(now())
    at_sandbox.change(clock_offset=250)
    assert cancelling.step(now() + MINUTE)
    at_sandbox.change(clock_offset=3_000)
    assert polling.step(now() + HOUR)
    assert collecting.step(now() + HOUR)
    batch.refresh_from_db()
    assert (batch.state, batch.succeeded + batch.canceled) == ("ended", 40)
    assert batch.canceled > 0
    assert [cancel["id"] for cancel in at_sandbox.ledger()["cancels"]] == [id]


SET_ASIDE = {"crashes": CRASH_LIMIT, "due_at": None}


def test_set_aside_parts_are_reached_by_a_cancel(api, batch):
    """What was not sent is dropped, what is at the API is told; what is unknown waits."""
    queued = make_part(batch, **SET_ASIDE)
    sent = make_sent(batch, **SET_ASIDE)
    unknown = make_part(batch, 7, state="unknown", unknown_at=now(), **SET_ASIDE)
    assert request_cancel(batch, now()) == 3
    canceled = Reply(remote("msgbatch_1", status="canceling"))
    api.plan("POST", f"{BATCHES}/msgbatch_1/cancel", canceled)
    assert cancelling.step(now())
    for part in (queued, sent, unknown):
        part.refresh_from_db()
    assert (queued.state, queued.crashes) == ("dropped", 0)
    assert (sent.processing_status, sent.crashes) == ("canceling", 0)
    assert (unknown.state, unknown.is_set_aside) == ("unknown", True)
    assert unknown.cancel_requested_at is not None


def test_without_a_key_the_wish_is_kept(batch):
    part = make_sent(batch)
    request_cancel(batch, now())
    assert cancelling.step(now())
    part.refresh_from_db()
    assert "has no API key" in part.reason
    assert part.cancel_requested_at is not None


def test_other_batches_go_on(api, batch):
    other = make_batch(batch.workspace)
    part = make_part(other)
    request_cancel(batch, now())
    part.refresh_from_db()
    assert (part.state, part.cancel_requested_at) == ("queued", None)
    make_sent(batch, cancel_requested_at=now())
    assert not cancelling.step(now(), only=other)
