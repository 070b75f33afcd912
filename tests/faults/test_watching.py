"""F9, F14, F16 to F18, F35, F36: what goes wrong while a batch is at the API, and is read of it."""

from datetime import timedelta
from typing import Any

import pytest

from batches import collecting, polling, reconciling
from batches.models import MessageBatch
from claude_api import Client, OutcomeUnknown
from tests.batches.stage import HOUR, MINUTE, SandboxScope, make_batch, make_part, now, remote
from tests.scripted_api import BATCHES, Reply, page, refusal
from workspaces.models import ApiKey

pytestmark = pytest.mark.django_db(transaction=True)
DAY = timedelta(days=1)
ONE = f"{BATCHES}/msgbatch_1"


@pytest.fixture
def part(workspace: Any) -> MessageBatch:
    return make_watched(workspace)


def make_watched(workspace: Any, **fields: Any) -> MessageBatch:
    mirrored = {"message_batch_id": "msgbatch_1", "processing_status": "in_progress"}
    values = {"state": "submitted", "created_at": now(), **mirrored, **fields}
    return make_part(make_batch(workspace), **values)


def poll(part: MessageBatch, after: timedelta = timedelta()) -> MessageBatch:
    assert polling.step(now() + after)
    part.refresh_from_db()
    return part


def test_f09_byte_by_byte_has_a_deadline(at_sandbox: SandboxScope):
    at_sandbox.call("/_sandbox/faults", {"on": "list", "kind": "slow", "rate": 20})
    with Client(at_sandbox.url, at_sandbox.secret, read_timeout=0.5) as client:
        with pytest.raises(OutcomeUnknown, match="comes too slowly"):
            client.list_batches()
        assert client.list_batches().data == []


FAILING = {
    "500": refusal(500, "api_error", "Internal server error"),
    "502": Reply(b"<html>Bad gateway</html>", 502),
    "529": refusal(529, "overloaded_error", "Overloaded"),
    "200": Reply(b"<html>Fine</html>"),
}


@pytest.mark.parametrize(("status", "answer"), FAILING.items(), ids=FAILING)
def test_f14_and_f19_api_that_fails_is_asked_again(api, part, said, status, answer):
    api.plan("GET", BATCHES, answer, page(remote("msgbatch_1")))
    poll(part)
    assert (part.state, part.processing_status) == ("submitted", "in_progress")
    text = said(part.batch)
    assert "Part 1 waits. Not looked at:" in text
    assert "It is tried again by itself." in text
    poll(part, 10 * MINUTE)
    assert "Not looked at" not in said(part.batch)


KEYS = {
    "f16": refusal(401, "authentication_error", "invalid x-api-key"),
    "f17 402": refusal(402, "billing_error", "no credit"),
    "f17 403": refusal(403, "permission_error", "not for you"),
}


@pytest.mark.parametrize("answer", KEYS.values(), ids=KEYS)
def test_f16_and_f17_refused_key_loses_nothing_and_another_goes_on(api, part, said, answer):
    api.plan("GET", BATCHES, answer, page(remote("msgbatch_1", status="ended")))
    poll(part)
    said_of_it = answer.content["error"]["message"]
    assert part.batch.state == "needs_you"
    text = said(part.batch)
    assert said_of_it in text
    assert "Nothing is lost." in text
    assert said_of_it in said(part.batch, "home")
    ApiKey.objects.update(retired_at=now())
    ApiKey.seal(part.workspace, "sandbox", "sk-ant-another-key", models_read_at=now())
    poll(part, 6 * MINUTE)
    assert part.processing_status == "ended"
    assert api.requests[-1].headers["x-api-key"] == "sk-ant-another-key"


def test_f18_batch_that_the_api_does_not_know_is_given_up_and_never_sent_again(api, part, said):
    api.plan("GET", BATCHES, page())
    api.plan("GET", ONE, refusal(404, "not_found_error", "no such batch"))
    for minutes in (0, 6, 12):
        poll(part, minutes * MINUTE)
    assert part.state == "submitted"
    assert "The API does not know this batch (asked 3 times)" in said(part.batch)
    assert collecting.step(now() + 13 * MINUTE)
    part.refresh_from_db()
    assert part.state == "lost"
    assert "5 answers of part 1 are lost" in said(part.batch, "activity/")
    assert "Missing 5" in said(part.batch)
    assert api.paths("POST") == []


@pytest.mark.parametrize("wrong", [-HOUR, HOUR], ids=["behind", "ahead"])
def test_f35_clock_of_the_api_that_is_wrong_ends_nothing_too_early(api, part, said, wrong):
    """The opposite, a clock of ours that is wrong, is in tests/batches/test_collecting.py."""
    api.plan("GET", BATCHES, page(remote("msgbatch_1", at=now() + wrong)))
    poll(part)
    assert (part.state, part.processing_status) == ("submitted", "in_progress")
    assert now() < part.due_at < now() + 6 * MINUTE
    assert "Waiting for 1 part of 5 requests." in said(part.batch)


@pytest.mark.parametrize("wrong", [-HOUR, HOUR], ids=["behind", "ahead"])
def test_f35_what_is_newer_is_found_by_the_list_and_not_by_clocks(api, workspace, wrong):
    part = make_part(make_batch(workspace), state="unknown", list_head="msgbatch_0", sent_at=now())
    api.plan("GET", BATCHES, page(remote("msgbatch_1", at=now() + wrong)))
    assert reconciling.step(now())
    part.refresh_from_db()
    assert [found["id"] for found in part.candidates] == ["msgbatch_1"]
    assert "before_id=msgbatch_0" in api.requests[0].query


def test_f36_results_are_announced_to_vanish_and_what_came_is_kept(api, workspace, said):
    ended = {"processing_status": "ended", "succeeded": 5}
    part = make_watched(workspace, created_at=now() - 27 * DAY, **ended)
    assert "part 1: results are deleted at the API in 1 day" in said(part.batch, "home")
    api.plan("GET", f"{ONE}/results", refusal(404, "not_found_error", "no results"))
    assert collecting.step(now() + 3 * DAY)
    part.refresh_from_db()
    assert part.state == "lost"
    assert "The API no longer has the results." in said(part.batch)
