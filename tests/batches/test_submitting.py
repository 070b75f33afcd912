import hashlib
import json
from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest

from batches import archive, submitting
from batches.calling import client_for
from batches.models import MessageBatch
from claude_api import CertificateRefused
from claude_api import MessageBatch as RemoteBatch
from leases.models import LEASE
from leases.renewing import LeaseLost, Renewal
from tests.batches.stage import HOUR, MINUTE, body_of, make_batch, make_part, now, remote
from tests.scripted_api import BATCHES, Drop, Reply, ScriptedApi, page, refusal
from workspaces.models import Event, Workspace

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
State = MessageBatch.State
WAITS = "has as many requests and no answer yet: the two could not be told apart."


@pytest.fixture
def part(workspace):
    return make_part(make_batch(workspace))


def submit(part, *answers, api, at=None):
    """Let the create be answered so; the part afterwards."""
    api.plan("GET", BATCHES, page(remote("msgbatch_head", 9)))
    api.plan("POST", BATCHES, *answers)
    assert submitting.step(at or now())
    part.refresh_from_db()
    return part


def test_it_works(at_sandbox, part):
    assert submitting.step(now())
    part.refresh_from_db()
    [create] = at_sandbox.ledger()["creates"]
    assert (part.state, part.message_batch_id) == ("submitted", create["id"])
    assert create["custom_ids"] == [f"{row}_{part.nonce}" for row in range(2, 7)]
    assert (part.processing_status, part.processing) == ("in_progress", 5)
    assert part.account.startswith("wrkspc_")
    assert (part.owner, part.lease_until, part.reason) == ("", None, "")
    assert part.batch.state == "in_progress"


def test_body_is_every_line_byte_for_byte_and_sent_once(api, part):
    submit(part, Reply(remote("msgbatch_1")), api=api)
    [post] = [request for request in api.requests if request.method == "POST"]
    assert post.body == body_of(part)
    assert post.headers["content-length"] == str(len(post.body))
    assert "transfer-encoding" not in post.headers
    assert [line["custom_id"] for line in json.loads(post.body)["requests"]] == [
        part.custom_id(row) for row in range(2, 7)
    ]
    assert post.headers["x-api-key"] == "sk-ant-scripted-key"


def test_body_longer_than_a_chunk(api, workspace):
    part = make_part(make_batch(workspace), size=3)
    path = archive.requests(part.pk, 1)
    line = b'{"custom_id":"2","params":"' + b"x" * 700_000 + b'"}\n'
    with archive.writing(path) as file:
        file.write(line * 3)
    MessageBatch.objects.filter(pk=part.pk).update(bytes=3 * len(line))
    submit(part, Reply(remote("msgbatch_1", 3)), api=api)
    assert api.requests[-1].body == body_of(part)


def test_intent_is_saved_before_the_post(api, part):
    seen = []

    def look(request):
        seen.append(MessageBatch.objects.values("state", "list_head", "sent_at").get())
        return Reply(remote("msgbatch_1"))

    submit(part, look, api=api)
    assert (seen[0]["state"], seen[0]["list_head"]) == ("sending", "msgbatch_head")
    assert abs(seen[0]["sent_at"] - now()) < MINUTE


def test_answer_lies_in_the_archive(api, part):
    submit(part, Reply(remote("msgbatch_1"), headers={"request-id": "req_9"}), api=api)
    created = msgspec.json.decode(archive.created(part.pk).read_bytes())
    assert created["nonce"] == part.nonce
    assert created["message_batch"]["id"] == "msgbatch_1"
    assert created["request_id"] == "req_9"


REJECTED = {
    "400": refusal(400, "invalid_request_error", "requests.0.custom_id: Field required"),
    "404": refusal(404, "not_found_error", "no such model"),
    "413": refusal(413, "request_too_large", "Request exceeds the maximum size"),
    "413 of the front": Reply({"error": {"type": "request_too_large", "message": "Big"}}, 413),
    "422": refusal(422, "invalid_request_error", "not processable"),
}


@pytest.mark.parametrize("answer", REJECTED.values(), ids=REJECTED)
def test_refused_for_good(api, part, answer):
    submit(part, answer, api=api)
    assert (part.state, part.due_at, part.lease_until) == ("rejected", None, None)
    assert answer.content["error"]["message"] in part.reason
    assert (part.batch.not_sent, part.batch.sent, part.batch.state) == (5, 0, "ended")
    assert not submitting.step(now() + 24 * HOUR)
    assert api.paths("POST") == [BATCHES]


def test_too_large_a_part_says_what_the_limit_is(api, part):
    submit(part, refusal(413, "request_too_large", "Request exceeds the maximum size"), api=api)
    assert part.reason == (
        "The API answers 413 request_too_large: Request exceeds the maximum size (request req_1). "
        f"This part has {part.bytes:,} bytes; the API takes 256 MB at most. Send its rows again in "
        "smaller parts."
    )


@pytest.mark.parametrize("status", [301, 307, 308])
def test_redirect_is_refused_and_not_followed(api, part, status):
    with ScriptedApi() as elsewhere:
        to = {"location": f"{elsewhere.url}/v1/messages/batches"}
        submit(part, Reply(status=status, headers=to), api=api)
        assert elsewhere.connections == 0
    assert part.state == "rejected"
    assert "redirects are not followed" in part.reason


REFUSED_KEYS = {
    "401": refusal(401, "authentication_error", "invalid x-api-key"),
    "402": refusal(402, "billing_error", "no credit"),
    "403": refusal(403, "permission_error", "not for you"),
}


@pytest.mark.parametrize("answer", REFUSED_KEYS.values(), ids=REFUSED_KEYS)
def test_refused_key_waits_and_says_so(api, key, part, answer):
    submit(part, answer, api=api)
    key.refresh_from_db()
    assert part.state == "queued"
    assert answer.content["error"]["message"] in key.refused
    assert key.paused(now() + MINUTE)
    assert not submitting.step(now() + MINUTE)
    submit(part, Reply(remote("msgbatch_1")), api=api, at=now() + 6 * MINUTE)
    key.refresh_from_db()
    assert (part.state, key.refused) == ("submitted", "")


SPEND_LIMITS = {
    "429": refusal(429, "rate_limit_error", "Limit.", code="enforced_spend_limit_reached"),
    "contract": refusal(429, "rate_limit_error", "Limit.", code="contract_spend_limit_reached"),
    "400": refusal(
        400, "invalid_request_error", "You have reached your specified API usage limits."
    ),
}


@pytest.mark.parametrize("answer", SPEND_LIMITS.values(), ids=SPEND_LIMITS)
def test_spend_limit_stops_sending_until_a_person_lifts_it(api, key, part, answer):
    submit(part, answer, api=api)
    key.refresh_from_db()
    assert (part.state, key.spend_limited, key.paused_until) == ("queued", True, None)
    assert submitting.step(now() + HOUR)
    assert len(api.requests) == 2
    key.forgive()
    submit(part, Reply(remote("msgbatch_1")), api=api, at=now() + 2 * HOUR)
    assert part.state == "submitted"


def test_rate_limit_with_retry_after_pauses_the_key(api, key, part):
    other = make_part(make_batch(part.workspace), size=7)
    answer = refusal(429, "rate_limit_error", "Slow down.", retry_after="37")
    submit(part, answer, api=api)
    key.refresh_from_db()
    waits = timedelta(seconds=36), timedelta(seconds=38)
    assert waits[0] < key.paused_until - now() < waits[1]
    assert part.state == "queued"
    assert waits[0] < part.due_at - now() < waits[1]
    assert submitting.step(now() + timedelta(seconds=2))
    other.refresh_from_db()
    assert (other.state, other.due_at) == ("queued", key.paused_until)
    assert len(api.requests) == 2


def test_rate_limit_without_retry_after_pauses_longer_each_time(api, key, part):
    pauses, at = [], now()
    for _ in range(4):
        submit(part, refusal(429, "rate_limit_error", "Slow down."), api=api, at=at)
        pauses.append(part.due_at - now())
        at = part.due_at
    key.refresh_from_db()
    assert (part.state, key.paused_until) == ("queued", None)
    assert pauses[0] < timedelta(seconds=6)
    assert all(later > pause for pause, later in pairwise(pauses))


UNKNOWN = {
    "body not read": Drop(before_body=True),
    "body read, no answer": Drop(),
    "400 of a proxy": Reply(b"<html>no</html>", 400),
    "401 of a captive portal": Reply(b"<html>sign in</html>", 401),
    "429 of a proxy": Reply(b"busy", 429, {"retry-after": "5"}),
    "408": refusal(408, "timeout_error", "too slow"),
    "409": refusal(409, "conflict_error", "busy"),
    "500": refusal(500, "api_error", "Internal server error"),
    "502 in HTML": Reply(b"<html>Bad gateway</html>", 502, {"content-type": "text/html"}),
    "504 that says invalid request": refusal(504, "invalid_request_error", "no"),
    "529": refusal(529, "overloaded_error", "Overloaded"),
}
ACCEPTED = {
    "200 cut": Reply(remote("msgbatch_1"), cut=40),
    "200 shorter than declared": Reply(remote("msgbatch_1"), length=4_000),
    "200 longer than declared": Reply(remote("msgbatch_1"), length=40),
    "200 in HTML": Reply(b"<html>Welcome</html>", headers={"content-type": "text/html"}),
    "200 empty": Reply(b""),
    "200 of another shape": Reply({"id": "msgbatch_1"}),
}


@pytest.mark.parametrize("answer", UNKNOWN.values(), ids=UNKNOWN)
def test_outcome_not_known(api, key, part, answer):
    submit(part, answer, api=api)
    assert (part.state, part.lease_until, part.message_batch_id) == ("unknown", None, None)
    assert part.unknown_at is not None
    assert part.reason.startswith("We do not know whether it was created: ")
    assert "had accepted it" not in part.reason
    assert not submitting.step(now() + 24 * HOUR)
    assert key.__class__.objects.get().refused == ""


@pytest.mark.parametrize("answer", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted_but_the_answer_is_lost(api, part, answer):
    submit(part, answer, api=api)
    assert part.state == "unknown"
    assert part.reason.endswith("The API had accepted it.")
    assert not archive.created(part.pk).exists()
    assert not submitting.step(now() + 24 * HOUR)


def test_refused_port_before_anything_waits_longer_each_time(api, part):
    api.hang_up()
    at, pauses = now(), []
    for _ in range(3):
        assert submitting.step(at)
        part.refresh_from_db()
        pauses.append(part.due_at - at)
        at = part.due_at
    assert (part.state, part.attempts) == ("queued", 3)
    assert part.reason.startswith("Nothing was sent to 127.0.0.1")
    assert pauses[0] < pauses[1] < pauses[2]


def test_refused_port_at_the_post_is_queued(api, part):
    api.plan("GET", BATCHES, Reply(page().content, hang_up=True))
    assert submitting.step(now())
    part.refresh_from_db()
    assert (part.state, part.attempts, part.lease_until) == ("queued", 1, None)
    assert part.due_at > now()
    assert not archive.created(part.pk).exists()


def test_certificate_refused_at_the_post_is_rejected(api, key, part):
    part = MessageBatch.objects.claim("me", now())
    assert submitting.intend(part, key, "")
    submitting.settle_failure(part, key, CertificateRefused("The certificate is refused."))
    assert (part.state, part.reason) == ("rejected", "The certificate is refused.")


def test_listing_that_fails_sends_nothing(api, part):
    api.plan("GET", BATCHES, refusal(529, "overloaded_error", "Overloaded"))
    assert submitting.step(now())
    part.refresh_from_db()
    assert (part.state, part.sent_at, api.paths("POST")) == ("queued", None, [])


def test_without_a_key_it_waits_and_says_so(part):
    assert submitting.step(now())
    part.refresh_from_db()
    assert part.state == "queued"
    assert "has no API key" in part.reason


def test_part_of_the_same_size_waits_for_the_first_to_be_known(api, part):
    submit(part, Drop(), api=api)
    second, third = make_part(part.batch), make_part(part.batch, size=6)
    api.plan("POST", BATCHES, Reply(remote("msgbatch_6", 6)))
    assert submitting.step(now())
    assert submitting.step(now())
    second.refresh_from_db()
    third.refresh_from_db()
    assert (second.state, third.state) == ("queued", "submitted")
    assert second.reason == f"Part 1 {WAITS}"
    assert second.due_at > now()
    assert api.paths("POST") == [BATCHES] * 2


def test_worker_that_lost_its_lease_sends_no_whole_body(api, key, part):
    api.plan("POST", BATCHES, Reply(remote("msgbatch_1")))
    part = MessageBatch.objects.claim("me", now())
    assert submitting.intend(part, key, "")
    assert MessageBatch.objects.claim("another", now() + 2 * LEASE)
    with client_for(key) as client, pytest.raises(LeaseLost):
        submitting.post(part, key, client, Renewal(part))
    assert api.requests == []
    assert MessageBatch.objects.get().state == "sending"


def test_lease_is_proven_before_the_last_byte(part):
    part = MessageBatch.objects.claim("me", now())
    body = submitting.requests_body(archive.requests(part.pk, 1), Renewal(part))
    sent = next(body) + next(body)
    assert MessageBatch.objects.claim("another", now() + 2 * LEASE)
    with pytest.raises(LeaseLost):
        next(body)
    assert sent + b"]}" == body_of(part)


def test_other_batches_and_other_times_are_left_alone(api, part):
    other = make_batch(part.workspace)
    assert not submitting.step(now(), only=other)
    assert not submitting.step(now() - MINUTE)
    assert api.connections == 0


def test_answer_in_the_archive_is_taken_instead_of_a_second_post(api, workspace):
    """The database was restored from a day on which the part was still queued."""
    part = make_part(make_batch(workspace))
    created = {"nonce": part.nonce, "request_id": "req_1", "message_batch": remote("msgbatch_1")}
    with archive.writing(archive.created(part.pk)) as file:
        file.write(msgspec.json.encode(created))
    assert submitting.step(now())
    part.refresh_from_db()
    assert (part.state, part.message_batch_id) == ("submitted", "msgbatch_1")
    assert api.connections == 0


def test_damaged_requests_file_is_not_sent(api, workspace):
    part = make_part(make_batch(workspace))
    path = archive.requests(part.pk, 1)
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert submitting.step(now())
    part.refresh_from_db()
    assert (part.state, part.batch.not_sent, api.connections) == ("dropped", 5, 0)
    assert f"bytes where {whole:,} were written" in part.reason
    assert f"resolve_part {part.pk} send-again --confirm 5" in part.reason


def test_requests_file_of_another_digest_is_not_sent(api, workspace):
    """As long as the one that was built, and not the same."""
    part = make_part(make_batch(workspace))
    path = archive.requests(part.pk, 1)
    built = path.read_bytes()
    MessageBatch.objects.update(sha256=hashlib.sha256(built).hexdigest())
    path.write_bytes(built.replace(b"claude-haiku-4-5", b"claude-opus-4-52"))
    assert submitting.step(now())
    part.refresh_from_db()
    assert (part.state, part.batch.not_sent, api.connections) == ("dropped", 5, 0)
    assert "has the digest" in part.reason
    assert "it was not sent" in part.reason


def test_requests_file_with_its_digest_is_sent(at_sandbox, workspace):
    part = make_part(make_batch(workspace))
    built = archive.requests(part.pk, 1).read_bytes()
    MessageBatch.objects.update(sha256=hashlib.sha256(built).hexdigest())
    assert submitting.step(now())
    part.refresh_from_db()
    assert part.state == "submitted"
    assert len(at_sandbox.ledger()["creates"]) == 1


def test_part_that_waits_names_the_one_of_another_batch_but_of_no_other_workspace(api, part):
    other = make_part(make_batch(part.workspace))
    MessageBatch.objects.filter(pk=other.pk).update(state="unknown", account=part.account)
    submit(part, api=api)
    assert part.reason == f"Part 1 of #{other.batch_id} {WAITS}"
    elsewhere = Workspace.objects.create(name="Elsewhere", slug="elsewhere")
    MessageBatch.objects.filter(pk=other.pk).update(workspace=elsewhere)
    MessageBatch.objects.filter(pk=part.pk).update(due_at=now() - HOUR)
    assert submitting.step(now())
    part.refresh_from_db()
    assert part.reason == f"Another part {WAITS}"


def test_tries_to_send_do_not_put_off_the_collecting(api, part):
    MessageBatch.objects.update(attempts=9)
    submit(part, Reply(remote("msgbatch_1")), api=api)
    assert (part.state, part.attempts) == ("submitted", 0)


def test_part_that_the_archive_knows_to_be_sent_waits_for_one_of_its_size(api, key, part):
    """In a database of an older day two may be looked for that were sent one after the other."""
    twin = make_part(part.batch, state="unknown", account=key.account(), due_at=None)
    found = msgspec.convert(remote("msgbatch_1"), RemoteBatch, strict=False)
    submitting.write_created(part, submitting.Created(part.nonce, found, "req_1"))
    assert submitting.step(now())
    part.refresh_from_db()
    assert (part.state, part.lease_until) == ("queued", None)
    assert part.reason == f"Part 2 {WAITS}"
    MessageBatch.objects.filter(pk=twin.pk).update(state="dropped")
    assert submitting.step(now() + MINUTE)
    part.refresh_from_db()
    assert (part.state, part.message_batch_id) == ("submitted", "msgbatch_1")
    assert api.connections == 0


def test_part_over_which_three_workers_died_is_not_sent_by_a_fourth(api, part):
    at = now()
    for number in range(3):
        assert MessageBatch.objects.claim("dies", at + number * LEASE) == part
    assert not submitting.step(at + 3 * LEASE)
    part.refresh_from_db()
    assert (part.state, part.is_set_aside, api.connections) == ("queued", True, 0)
    assert part.batch.state == "needs_you"
    [event] = Event.objects.filter(verb="set_aside")
    assert event.sentence == "Part 1 stopped 3 workers and is set aside."
