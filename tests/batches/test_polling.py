from datetime import timedelta

import pytest
from cryptography.fernet import Fernet

from batches import collecting, polling
from batches.models import MessageBatch, Result
from claude_api import MessageBatch as RemoteBatch
from claude_api import RequestCounts
from tests.batches.stage import (
    HOUR,
    MINUTE,
    body_of,
    make_batch,
    make_part,
    make_workspace,
    now,
    remote,
)
from tests.scripted_api import BATCHES, Reply, page, refusal
from workspaces.models import ApiKey, Event

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
SECOND = timedelta(seconds=1)


def make_sent(batch, id, size=5, **fields):
    """A part that the API works on."""
    mirrored = {"processing_status": "in_progress", "processing": size, "created_at": now()}
    values = {"message_batch_id": id, **mirrored, **fields}
    return make_part(batch, size, "submitted", **values)


@pytest.fixture
def batch(workspace):
    return make_batch(workspace)


def state_of(part):
    part.refresh_from_db()
    return part.processing_status


def test_it_works(at_sandbox, batch):
    part = make_part(batch)
    account = "wrkspc_" + at_sandbox.secret.split("-")[2]
    at_sandbox.change(batch_seconds=0)
    id = at_sandbox.create(body_of(part))
    MessageBatch.objects.update(state="submitted", message_batch_id=id, account=account)
    assert polling.step(now())
    part.refresh_from_db()
    assert (part.processing_status, part.processing, part.succeeded) == ("ended", 0, 5)
    assert part.ended_at is not None
    assert part.results_url.endswith(f"{id}/results")
    assert part.batch.state == "collecting"
    assert Event.objects.get(verb="ended").sentence == "Part 1 has ended at the API."
    assert not polling.step(now() + HOUR)


def test_one_listing_mirrors_all_parts_that_are_on_it(api, batch):
    parts = [make_sent(batch, f"msgbatch_{n}", n) for n in (1, 2, 3)]
    late = make_sent(batch, "msgbatch_4", 4, due_at=now() + HOUR)
    listed = [remote(f"msgbatch_{n}", n, "ended") for n in (4, 3, 1)]
    api.plan("GET", BATCHES, page(*listed, remote("msgbatch_2", 2), remote("msgbatch_theirs")))
    assert polling.step(now())
    assert [state_of(part) for part in parts] == ["ended", "in_progress", "ended"]
    assert state_of(late) == "ended"
    assert len(api.requests) == 1
    assert api.requests[0].query == "limit=1000"


def test_what_is_not_on_the_page_is_retrieved(api, batch):
    part = make_sent(batch, "msgbatch_old")
    late = make_sent(batch, "msgbatch_late", 6, due_at=now() + HOUR)
    api.plan("GET", BATCHES, page())
    api.plan("GET", f"{BATCHES}/msgbatch_old", Reply(remote("msgbatch_old", status="ended")))
    assert polling.step(now())
    assert (state_of(part), state_of(late)) == ("ended", "in_progress")


def test_nothing_due_calls_nobody(api, batch):
    make_sent(batch, "msgbatch_1", due_at=now() + HOUR)
    make_sent(batch, "msgbatch_2", 6, processing_status="ended")
    make_part(batch, 7, "queued")
    make_part(batch, 8, "unknown")
    assert not polling.step(now())
    assert api.connections == 0


@pytest.mark.parametrize(
    ("age", "pause"),
    [(-HOUR, SECOND), (2 * SECOND, SECOND), (MINUTE, 6 * SECOND), (20 * HOUR, 5 * MINUTE)],
)
def test_next_look_is_after_a_tenth_of_the_age(api, batch, age, pause):
    at = now()
    part = make_sent(batch, "msgbatch_1", created_at=at - age)
    api.plan("GET", BATCHES, page(remote("msgbatch_1", at=at - age)))
    assert polling.step(at)
    part.refresh_from_db()
    assert part.due_at == at + pause


def test_hint_of_the_api_is_obeyed(api, batch):
    at = now()
    part = make_sent(batch, "msgbatch_1")
    api.plan("GET", BATCHES, page())
    api.plan(
        "GET",
        f"{BATCHES}/msgbatch_1",
        Reply(remote("msgbatch_1"), headers={"retry-after": "30"}),
    )
    assert polling.step(at)
    part.refresh_from_db()
    assert part.due_at == at + 30 * SECOND


def test_word_that_is_newer_than_this_program_is_kept(api, batch):
    part = make_sent(batch, "msgbatch_1")
    api.plan("GET", BATCHES, page(remote("msgbatch_1", status="paused")))
    assert polling.step(now())
    assert state_of(part) == "paused"
    assert polling.step(now() + MINUTE)


FAILURES = {
    "500": refusal(500, "api_error", "Internal server error"),
    "502 in HTML": Reply(b"<html>Bad gateway</html>", 502),
    "529": refusal(529, "overloaded_error", "Overloaded"),
    "429": refusal(429, "rate_limit_error", "Slow down."),
    "200 in HTML": Reply(b"<html>Welcome</html>"),
    "200 cut": Reply(page(remote("msgbatch_1")).content, cut=50),
}


@pytest.mark.parametrize("answer", FAILURES.values(), ids=FAILURES)
def test_failure_is_tried_again_soon(api, batch, answer):
    at = now()
    part = make_sent(batch, "msgbatch_1")
    api.plan("GET", BATCHES, answer, page(remote("msgbatch_1", status="ended")))
    assert polling.step(at)
    assert state_of(part) == "in_progress"
    assert part.reason.startswith("Not looked at: ")
    assert SECOND <= part.due_at - at <= 10 * SECOND
    assert polling.step(part.due_at)
    assert state_of(part) == "ended"
    assert part.reason == ""


def test_retry_after_pauses_the_key(api, key, batch):
    at = now()
    make_sent(batch, "msgbatch_1")
    api.plan("GET", BATCHES, refusal(429, "rate_limit_error", "Slow.", retry_after="37"))
    assert polling.step(at)
    key.refresh_from_db()
    assert key.paused_until == at + 37 * SECOND
    MessageBatch.objects.update(due_at=at)
    assert not polling.step(at + 36 * SECOND)
    assert polling.step(at + 38 * SECOND)


def test_revoked_key_keeps_the_parts_and_says_so(api, key, batch):
    part = make_sent(batch, "msgbatch_1")
    answers = refusal(401, "authentication_error", "invalid x-api-key"), page(remote("msgbatch_1"))
    api.plan("GET", BATCHES, *answers)
    assert polling.step(now())
    key.refresh_from_db()
    assert "invalid x-api-key" in key.refused
    assert (state_of(part), part.state) == ("in_progress", "submitted")
    assert not polling.step(now() + MINUTE)
    assert polling.step(now() + 6 * MINUTE)
    key.refresh_from_db()
    assert key.refused == ""


def test_spend_limit_does_not_stop_the_watching(api, key, batch):
    part = make_sent(batch, "msgbatch_1")
    ApiKey.objects.update(refused="Limit.", refused_type="spend_limit")
    api.plan("GET", BATCHES, page(remote("msgbatch_1", status="ended")))
    assert polling.step(now())
    key.refresh_from_db()
    assert (state_of(part), key.refused) == ("ended", "Limit.")


def ask_for_the_gone(api, part, *minutes):
    api.plan("GET", BATCHES, page())
    gone = refusal(404, "not_found_error", "Message Batch not found.")
    api.plan("GET", f"{BATCHES}/{part.message_batch_id}", gone)
    start = now()
    for minute in minutes:
        at = start + minute * MINUTE
        polling.step(at)
        collecting.step(at)
    part.refresh_from_db()
    return part


def test_not_known_three_times_in_ten_minutes_is_lost(api, batch):
    """With the stages in the order of the worker: polling has its turn before collecting."""
    part = ask_for_the_gone(api, make_sent(batch, "msgbatch_1"), *range(13))
    assert part.state == "lost"
    assert "(asked 3 times)" in part.reason
    assert Result.objects.filter(type="missing").count() == 5
    batch.refresh_from_db()
    assert (batch.missing, batch.sent, batch.state) == (5, 5, "ended")
    assert api.paths("POST") == []


def test_not_known_for_a_moment_only_is_forgiven(api, batch):
    part = ask_for_the_gone(api, make_sent(batch, "msgbatch_1"), 0, 6)
    assert (part.state, part.not_found) == ("submitted", 2)
    api.plan("GET", BATCHES, page(remote("msgbatch_1")))
    assert polling.step(now() + 12 * MINUTE)
    part.refresh_from_db()
    assert (part.not_found, part.reason) == (0, "")


def test_many_times_not_known_in_a_short_time_is_not_lost(api, batch):
    part = ask_for_the_gone(api, make_sent(batch, "msgbatch_1"), 0)
    MessageBatch.objects.update(not_found=9)
    part = ask_for_the_gone(api, part, 5)
    assert (part.state, part.not_found) == ("submitted", 10)


def test_other_not_founds_do_not_count(api, batch):
    """The listing's address is wrong, say: nothing is known of the part."""
    part = make_sent(batch, "msgbatch_1")
    api.plan("GET", BATCHES, refusal(404, "not_found_error", "no such address"))
    for minute in range(0, 60, 6):
        polling.step(now() + minute * MINUTE)
    part.refresh_from_db()
    assert (part.not_found, part.state) == (0, "submitted")


def test_key_of_another_workspace_is_not_used(api, batch):
    other = make_batch(make_workspace("other"))
    theirs = make_sent(other, "msgbatch_2")
    their_key = ApiKey.seal(other.workspace, "sandbox", "sk-ant-other-key")
    make_sent(batch, "msgbatch_1", due_at=now() + HOUR)
    api.plan("GET", BATCHES, page(remote("msgbatch_2", status="ended")))
    assert polling.step(now())
    assert [request.headers["x-api-key"] for request in api.requests] == ["sk-ant-other-key"]
    assert state_of(theirs) == "ended"
    their_key.refresh_from_db()
    assert their_key.lease_until is None
    assert ApiKey.objects.get(workspace=batch.workspace).accepted_at is None


def test_part_sent_before_the_account_was_known_is_looked_at(at_sandbox, batch):
    at_sandbox.change(batch_seconds=0)
    part = make_part(batch)
    id = at_sandbox.create(body_of(part))
    account = f"workspace:{batch.workspace_id}"
    MessageBatch.objects.update(state="submitted", message_batch_id=id, account=account)
    ApiKey.objects.update(anthropic_workspace="wrkspc_" + at_sandbox.secret.split("-")[2])
    assert polling.step(now())
    assert state_of(part) == "ended"


def test_part_of_another_account_is_not_asked_for(api, batch):
    part = make_sent(batch, "msgbatch_1", account="wrkspc_before")
    api.plan("GET", BATCHES, page())
    assert polling.step(now())
    assert "another Anthropic workspace" in MessageBatch.objects.get().reason
    assert api.paths("GET") == [BATCHES]
    assert (state_of(part), part.not_found) == ("in_progress", 0)


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("SANDBOX_URL", "", "SANDBOX_URL is not set"),
        ("ENCRYPTION_KEYS", [Fernet.generate_key().decode()], "cannot be decrypted"),
    ],
)
def test_key_that_cannot_be_used_is_not_set_aside(api, key, batch, settings, setting, value, said):
    part = make_sent(batch, "msgbatch_1")
    whole = getattr(settings, setting)
    setattr(settings, setting, value)
    for minute in (0, 6, 12, 18):
        assert polling.step(now() + minute * MINUTE)
    part.refresh_from_db()
    assert said in part.reason
    setattr(settings, setting, whole)
    api.plan("GET", BATCHES, page(remote("msgbatch_1", status="ended")))
    assert polling.step(now() + 24 * MINUTE)
    assert state_of(part) == "ended"


def test_part_at_another_api_is_not_asked_for(api, batch):
    make_sent(batch, "msgbatch_1", api="claude")
    assert not polling.step(now())
    assert api.connections == 0


def test_only_the_workspace_of_the_batch(api, batch):
    make_sent(batch, "msgbatch_1")
    assert not polling.step(now(), only=make_batch(make_workspace("other")))


def test_listing_that_comes_late_does_not_undo_an_end(api, batch):
    part = make_sent(batch, "msgbatch_1")
    MessageBatch.objects.update(processing_status="ended", succeeded=5, processing=0)
    shown = RemoteBatch("msgbatch_1", "in_progress", RequestCounts(5), now(), now() + HOUR)
    polling.save_mirror(part, shown, now())
    assert state_of(part) == "ended"
    assert part.succeeded == 5


def test_part_that_was_found_before_its_account_was_known_learns_it(api, key, batch):
    """Else a later key, of another account, would be believed when it does not know the part."""
    parts = [make_sent(batch, f"msgbatch_{size}", size) for size in (5, 6)]
    ApiKey.objects.filter(pk=key.pk).update(anthropic_workspace="wrkspc_1")
    api.plan("GET", BATCHES, page(remote("msgbatch_5")))
    api.plan("GET", f"{BATCHES}/msgbatch_6", Reply(remote("msgbatch_6", 6)))
    assert polling.step(now())
    for part in parts:
        part.refresh_from_db()
        assert part.account == "wrkspc_1"
