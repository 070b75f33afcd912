"""The API's copy is deleted before ours, or alone; whatever happens on the way to it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings

from batches import collecting, deleting, polling, submitting
from batches.deleting import request_delete
from batches.deleting_remote import request_delete_remote
from batches.models import Batch, MessageBatch, Request, Result
from batches.waiting import CannotCollect, collect_again
from tests.batches.operator import Operator, write_table
from tests.batches.stage import (
    HOUR,
    MINUTE,
    SECOND,
    SandboxScope,
    make_batch,
    make_part,
    now,
    remote,
    result_lines,
)
from tests.processes import Sandbox, wait_until
from tests.scripted_api import BATCHES, Drop, Reply, ScriptedApi, refusal
from workspaces.models import Event, Workspace

pytestmark = [pytest.mark.django_db(transaction=True)]
DAY = timedelta(days=1)
GONE = refusal(404, "not_found_error", "Message Batch not found.")
IN_PROGRESS = refusal(400, "invalid_request_error", "In progress batches cannot be deleted.")


@pytest.fixture
def batch(workspace: Workspace) -> Batch:
    return make_batch(workspace, "abcde")


def make_stored(batch: Batch, id: str = "msgbatch_1", **fields: object) -> MessageBatch:
    known = {
        "message_batch_id": id,
        "processing_status": "ended",
        "created_at": now(),
        "due_at": None,
    }
    return make_part(batch, **{"state": "stored", "answers": {"succeeded": 5}, **known, **fields})


def path_of(id: str = "msgbatch_1") -> str:
    return f"{BATCHES}/{id}"


def files() -> list[Path]:
    return [path for path in Path(settings.DATA_DIR).rglob("*") if path.is_file()]


def work(at: datetime | None = None) -> None:
    """Take turns until nothing more is due at that time."""
    at = at or now() + SECOND
    for _ in range(100):
        if not deleting.step(at):
            return
    raise AssertionError("it does not get done")


def said(verb: str) -> list[str]:
    return [event.sentence for event in Event.objects.filter(verb=verb).order_by("pk")]


@pytest.mark.both_databases
def test_both_copies_go(at_sandbox: SandboxScope, batch: Batch) -> None:
    at_sandbox.change(batch_seconds=0)
    make_part(batch, 3)
    make_part(batch, 2)
    while submitting.step(now()):
        pass
    later = now() + MINUTE
    assert polling.step(later)
    while collecting.step(later):
        pass
    batch.refresh_from_db()
    assert batch.final
    ids = set(batch.message_batches.values_list("message_batch_id", flat=True))
    assert request_delete(batch, now(), remote=True)
    assert said("deleted") == [
        f"#{batch.pk} Themes was deleted: 5 requests in 2 parts; at the API too."
    ]
    work()
    work(now() + MINUTE)
    assert {entry["id"] for entry in at_sandbox.ledger()["deletes"]} == ids
    assert not Batch.objects.exists()
    assert not files()


def test_ours_stays_until_theirs_is_gone(api: ScriptedApi, batch: Batch) -> None:
    part = make_stored(batch)
    api.plan("DELETE", path_of(), refusal(529, "overloaded_error", "Overloaded"), Reply({}))
    request_delete(batch, now(), remote=True)
    work()
    part.refresh_from_db()
    assert part.reason.startswith("Not deleted at the API yet: The API answers 529")
    assert (part.deleted_at, part.lease_until) == (None, None)
    assert files()
    work(now() + HOUR)
    work(now() + HOUR + MINUTE)
    assert api.paths("DELETE") == [path_of()] * 2
    assert not MessageBatch.objects.exists()
    assert not files()


def test_without_the_wish_the_api_is_left_alone(api: ScriptedApi, batch: Batch) -> None:
    make_stored(batch)
    request_delete(batch, now())
    work()
    assert not Batch.objects.exists()
    assert api.connections == 0


def test_only_theirs_goes_and_ours_stays(api: ScriptedApi, batch: Batch) -> None:
    first, second = make_stored(batch), make_stored(batch, "msgbatch_2")
    api.plan("DELETE", path_of(), Reply({}))
    api.plan("DELETE", path_of("msgbatch_2"), GONE)
    there = files()
    assert request_delete_remote(batch, now()) == 2
    assert request_delete_remote(batch, now()) == 0, "asked for already"
    work()
    for part in (first, second):
        part.refresh_from_db()
        assert part.deleted_at is not None
        assert (part.state, part.due_at, part.reason) == ("stored", None, "")
    batch.refresh_from_db()
    assert (batch.deleting_at, batch.delete_remote) == (None, False)
    assert files() == there
    assert said("delete_remote") == ["What the API keeps of 2 parts is to be deleted there."]
    assert said("deleted_remote") == [
        "Part 1 was deleted at the API: msgbatch_1.",
        "Part 2 was not at the API any more: msgbatch_2.",
    ]
    assert request_delete(batch, now(), remote=True)
    assert said("deleted")[0].endswith("in 2 parts.")
    work()
    assert api.paths("DELETE") == [path_of(), path_of("msgbatch_2")]
    assert not Batch.objects.exists()


def test_what_is_to_be_collected_again_is_collected_first(api: ScriptedApi, batch: Batch) -> None:
    """Both are asked for by a time: neither stage takes what the other was given."""
    again = make_stored(batch, stored_at=now(), due_at=now())
    other = make_stored(batch, "msgbatch_2", stored_at=now())
    assert request_delete_remote(batch, now()) == 1
    api.plan("GET", f"{path_of()}/results", refusal(529, "overloaded_error", "Overloaded"))
    assert collecting.step(now() + SECOND, batch)
    api.plan("DELETE", path_of("msgbatch_2"), Reply({}))
    work()
    assert api.paths("DELETE") == [path_of("msgbatch_2")]
    for part, is_gone in ((again, False), (other, True)):
        part.refresh_from_db()
        assert (part.deleted_at is not None) == is_gone


def test_what_is_to_be_deleted_there_is_not_collected(api: ScriptedApi, batch: Batch) -> None:
    make_stored(batch, stored_at=now())
    request_delete_remote(batch, now())
    assert not collecting.step(now() + HOUR)
    assert api.connections == 0
    with pytest.raises(CannotCollect, match="being deleted at the API"):
        collect_again(MessageBatch.objects.get(), now())


def test_what_is_stored_after_the_wish_is_deleted_too(api: ScriptedApi, batch: Batch) -> None:
    part = make_stored(batch, state="incomplete", answers={})
    batch.refresh_from_db()
    assert request_delete(batch, now(), remote=True, waived=5)
    MessageBatch.objects.filter(pk=part.pk).update(state="stored", due_at=None)
    api.plan("DELETE", path_of(), Reply({}))
    for minutes in range(3):
        work(now() + minutes * MINUTE)
    assert api.paths("DELETE") == [path_of()]
    assert not Batch.objects.exists()


def test_what_runs_is_not_asked_for(api: ScriptedApi, batch: Batch) -> None:
    make_stored(batch, state="submitted", processing_status="in_progress")
    assert request_delete_remote(batch, now()) == 0
    work(now() + HOUR)
    assert api.connections == 0


@pytest.mark.parametrize("looked", [GONE, Reply(remote("msgbatch_1", status="ended"))])
def test_a_delete_without_an_answer_is_looked_after(
    api: ScriptedApi, batch: Batch, looked: Reply
) -> None:
    part = make_stored(batch)
    api.plan("DELETE", path_of(), Drop(), Reply({}))
    api.plan("GET", path_of(), looked)
    request_delete_remote(batch, now())
    work()
    part.refresh_from_db()
    is_gone = looked is GONE
    assert (part.deleted_at is not None) == is_gone
    if not is_gone:
        assert part.reason.endswith("The API was asked to delete it, and has it still.")
        work(now() + HOUR)
        part.refresh_from_db()
        assert part.deleted_at


def test_a_404_of_something_in_between_proves_nothing(api: ScriptedApi, batch: Batch) -> None:
    part = make_stored(batch)
    api.plan("DELETE", path_of(), Reply(b"<html>no such page</html>", 404))
    request_delete_remote(batch, now())
    work()
    part.refresh_from_db()
    assert part.deleted_at is None
    assert "404" in part.reason


def test_what_the_api_still_runs_is_cancelled_and_waited_for(
    api: ScriptedApi, batch: Batch
) -> None:
    """One that was given up as lost, and is there after all."""
    part = make_stored(batch, state="lost")
    running = remote("msgbatch_1", status="in_progress")
    api.plan("DELETE", path_of(), IN_PROGRESS, Reply({}))
    api.plan("GET", path_of(), Reply(running))
    api.plan("POST", f"{path_of()}/cancel", Reply(running | {"processing_status": "canceling"}))
    request_delete(batch, now(), remote=True)
    work()
    part.refresh_from_db()
    assert part.reason.endswith("it is canceled there, and deleted once it ended.")
    assert len(api.paths("POST")) == 1
    work(now() + MINUTE)
    work(now() + 2 * MINUTE)
    assert not Batch.objects.exists()


def test_another_accounts_key_does_not_prove_that_it_is_gone(
    api: ScriptedApi, batch: Batch
) -> None:
    part = make_stored(batch, account="wrkspc_other")
    request_delete_remote(batch, now())
    work()
    part.refresh_from_db()
    assert part.deleted_at is None
    assert part.reason.endswith(polling.ANOTHER_ACCOUNT)
    assert api.connections == 0


def test_without_a_key_it_waits_and_after_a_week_says_what_stays_there(
    batch: Batch, caplog: pytest.LogCaptureFixture
) -> None:
    make_stored(batch)
    asked = now()
    request_delete(batch, asked, remote=True)
    for days in range(7):
        work(asked + days * DAY + HOUR)
    assert MessageBatch.objects.count() == 1
    assert files()
    work(asked + 7 * DAY + HOUR)
    work(asked + 7 * DAY + 2 * HOUR)
    assert not Batch.objects.exists()
    assert not files()
    until = f"{now() + 29 * DAY:%Y-%m-%d}"
    assert said("left_at_the_api") == [
        f"1 part of #{batch.pk} Themes could not be deleted at the API within 7 days: msgbatch_1. "
        f"The API deletes them by itself by {until}."
    ]
    waits = [record for record in caplog.messages if "Not deleted at the API yet" in record]
    assert len(waits) == 1, "said once, not every five minutes"


def test_what_is_older_than_29_days_is_gone_by_itself(api: ScriptedApi, batch: Batch) -> None:
    make_stored(batch, created_at=now() - 29 * DAY)
    assert request_delete_remote(batch, now()) == 0
    request_delete(batch, now(), remote=True)
    work()
    assert not Batch.objects.exists()
    assert api.connections == 0


def test_answers_that_were_not_collected_go_only_where_they_are_given_up(
    api: ScriptedApi, batch: Batch
) -> None:
    make_stored(batch, size=2)
    part = make_stored(
        batch, "msgbatch_2", size=3, state="incomplete", answers={"succeeded": 1}, due_at=now()
    )
    batch.refresh_from_db()
    assert not request_delete(batch, now(), remote=True)
    assert not request_delete(batch, now(), remote=True, waived=3)
    assert request_delete(batch, now(), remote=True, waived=2)
    assert said("deleted")[0].endswith("in 2 parts; 2 answers not collected; at the API too.")
    api.plan("DELETE", path_of(), Reply({}))
    api.plan("DELETE", path_of("msgbatch_2"), Reply({}))
    # While a collector holds it nothing is taken from it.
    MessageBatch.objects.filter(pk=part.pk).update(lease_until=now() + MINUTE)
    work()
    part.refresh_from_db()
    assert part.state == "incomplete"
    MessageBatch.objects.filter(pk=part.pk).update(lease_until=None)
    for minutes in range(1, 4):
        work(now() + minutes * MINUTE)
    assert sorted(api.paths("DELETE")) == [path_of(), path_of("msgbatch_2")]
    assert not Batch.objects.exists()


@pytest.mark.parametrize(
    ("state", "fields", "stopped_by"),
    [
        ("unknown", {}, "unknown"),
        ("unknown", {"settled_at": now()}, "unknown"),
        ("sending", {}, "sending"),
        ("queued", {}, "running"),
        ("submitted", {"processing_status": "in_progress"}, "running"),
        ("submitted", {"processing_status": "ended"}, "uncollected"),
        ("incomplete", {}, "uncollected"),
        ("stored", {}, None),
        ("lost", {}, None),
        ("dropped", {}, None),
    ],
)
def test_each_state_says_what_is_in_the_way(
    batch: Batch, state: str, fields: dict[str, object], stopped_by: str | None
) -> None:
    make_part(batch, 5, state, **fields)
    batch.refresh_from_db()
    assert deleting.obstacle(batch) == stopped_by
    assert request_delete(batch, now()) is (stopped_by is None)


def test_what_became_unknown_meanwhile_is_shown_again(batch: Batch) -> None:
    """It was sent in the moment of the deletion, and nobody can decide about what is hidden."""
    request_delete(batch, now(), remote=True)
    make_part(batch, 5, "unknown", settled_at=now())
    work()
    batch.refresh_from_db()
    assert (batch.deleting_at, batch.delete_remote) == (None, False)
    assert batch.state == "needs_you"
    assert "Decide first." in said("not_deleted")[0]
    assert MessageBatch.objects.exists()


def test_a_part_deleted_behind_our_back_is_lost_and_says_so(api: ScriptedApi, batch: Batch) -> None:
    part = make_stored(batch, state="submitted", answers={}, due_at=now())
    lines = result_lines(part)
    api.plan("GET", f"{path_of()}/results", GONE)
    later = now() + MINUTE
    assert lines
    assert collecting.step(later)
    part.refresh_from_db()
    assert part.reason.startswith("Not collected: The API answers 404 not_found_error")
    MessageBatch.objects.filter(pk=part.pk).update(created_at=now() - 29 * DAY, due_at=later)
    assert collecting.step(later)
    part.refresh_from_db()
    assert part.state == "lost"
    assert Result.objects.filter(type="missing").count() == 5


@pytest.mark.both_databases
def test_killed_at_any_point_it_goes_on(sandbox: Sandbox, scope: str, tmp_path: Path) -> None:
    """A worker that dies between the API and our rows; the next one deletes nothing twice."""
    operator = Operator(sandbox.url, scope, tmp_path)
    operator.settings(batch_seconds=0)
    write_table(tmp_path / "table.csv", 400)
    recipe = ["--model", "claude-haiku-4-5", "--prompt", "{{text}}", "--part-size", "20"]
    done = operator.run("run_batch", str(tmp_path / "table.csv"), *recipe)
    assert done.returncode == 0, done.stderr
    batch = Batch.objects.get()
    ids = sorted(batch.message_batches.values_list("message_batch_id", flat=True))
    assert len(ids) == 20
    request_delete(batch, now(), remote=True)
    ledger = SandboxScope(sandbox.url, scope).ledger
    kill_at(operator, lambda: len(ledger()["deletes"]) >= 1)
    kill_at(operator, lambda: len(ledger()["deletes"]) >= 9)
    kill_at(operator, lambda: MessageBatch.objects.count() <= 12)
    kill_at(operator, lambda: not Batch.objects.exists())
    assert sorted(entry["id"] for entry in ledger()["deletes"]) == ids
    for model in (MessageBatch, Request, Result):
        assert not model.objects.exists()
    assert not files()


def kill_at(operator: Operator, reached: Callable[[], bool]) -> None:
    """Let a worker work until then, and kill it; what it held is free at once for the next."""
    worker = operator.start("poll_batches", "--interval", "0.1")
    try:
        wait_until(lambda: reached() or worker.poll() is not None, 30)
    finally:
        worker.kill()
        said = worker.communicate()[1]
    assert reached(), said
    # A Batch that died in the hands of a worker is held for two minutes.
    Batch.objects.filter(deleting_at__isnull=False).update(deleting_at=now() - SECOND)
