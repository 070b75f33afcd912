import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from batches import archive, deleting
from batches.deleting import request_delete, step
from batches.models import Batch, MessageBatch, Request, Result, Run, Upload
from batches.planning import Selection
from batches.starting import one_at_a_time, start
from tests.batches.stage import (
    HOUR,
    MINUTE,
    SECOND,
    make_batch,
    make_part,
    make_workspace,
    now,
    rows_of,
)
from workspaces.models import Event, Workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace(db: None) -> Workspace:
    return make_workspace()


@transaction.atomic
def an_ended_batch(workspace: Workspace) -> Batch:
    """Two parts, the second of which took the place of a lost one."""
    batch = make_batch(workspace, ["x"] * 8)
    lost = make_part(batch, 5, "lost", processing_status="ended")
    again = make_part(batch, 5, "stored", rows=range(2, 7), replaces=lost)
    make_part(batch, 3, "stored")
    for row in rows_of(again):
        request = Request.objects.of(again.pk).get(row=row)
        Result.objects.create(request=request, batch=batch, row=row, type="succeeded")
    batch.record("built", "5 requests written in 1 part.")
    batch.recount()
    return batch


def files() -> list[Path]:
    return [path for path in Path(settings.DATA_DIR).rglob("*") if path.is_file()]


def remove(at_most: int = 100) -> int:
    """Take turns until nothing is left to do; how many there were."""
    turns = 0
    while step(now() + SECOND):
        turns += 1
        assert turns < at_most
    return turns


@pytest.mark.both_databases
def test_nothing_is_left_but_that_it_was_deleted(workspace: Workspace) -> None:
    batch = an_ended_batch(workspace)
    assert files()
    assert request_delete(batch, now())
    assert remove()
    for model in (Batch, Run, MessageBatch, Request, Result, Upload):
        assert not model.objects.exists(), model
    assert not files()
    assert [event.verb for event in Event.objects.all()] == ["deleted"]


def test_what_others_have_stays(workspace: Workspace) -> None:
    batch, other = an_ended_batch(workspace), an_ended_batch(workspace)
    there = set(files())
    request_delete(batch, now())
    remove()
    assert Batch.objects.get() == other
    assert other.message_batches.count() == 3
    assert Request.objects.filter(batch=other).count() == 13
    assert Result.objects.filter(batch=other).count() == 5
    assert 0 < len(files()) < len(there)
    assert archive.requests(other.message_batches.latest("pk").pk, 1).exists()


def test_an_upload_that_another_batch_uses_stays(workspace: Workspace) -> None:
    batch = an_ended_batch(workspace)
    other = Batch.objects.create(workspace=workspace, upload=batch.upload, name="Other")
    request_delete(batch, now())
    remove()
    assert Upload.objects.get() == other.upload
    assert archive.rows(other.upload_id or 0, 1).exists()


@pytest.mark.parametrize("turns", range(1, 8))
def test_who_dies_over_it_leaves_it_to_be_gone_on(workspace: Workspace, turns: int) -> None:
    batch = an_ended_batch(workspace)
    request_delete(batch, now())
    for _ in range(turns):
        step(now() + SECOND)
    # Killed after the files of the next part went, and before its row did.
    left = MessageBatch.objects.filter(batch=batch).order_by("-pk").first()
    if left is not None:
        deleting.claim(Batch.objects.all(), now() + SECOND)
        archive.delete("message_batches", left.pk)
    assert not step(now() + SECOND) or left is None
    later = now() + HOUR
    while step(later):
        later += MINUTE
    assert not Batch.objects.exists()
    assert not files()


def test_a_worker_that_holds_it_is_left_alone(workspace: Workspace) -> None:
    batch = an_ended_batch(workspace)
    at = now()
    request_delete(batch, at)
    assert deleting.claim(Batch.objects.filter(deleting_at__lte=at), at)
    assert not step(at + MINUTE)
    assert step(at + HOUR)


@pytest.mark.parametrize(
    "command",
    ["export_batch {} out.csv", "cancel_batch {}", "run_batch --resume {}", "retry_batch {} --yes"],
)
def test_in_a_shell_it_is_gone_at_once(workspace: Workspace, command: str) -> None:
    batch = an_ended_batch(workspace)
    request_delete(batch, now())
    with pytest.raises(CommandError, match=f"There is no batch {batch.pk}") as refused:
        call_command(*command.format(batch.pk).split())
    assert refused.value.returncode == 2


@pytest.mark.parametrize("command", ["collect_part {}", "resolve_part {} drop"])
def test_in_a_shell_its_parts_are_gone_at_once(workspace: Workspace, command: str) -> None:
    batch = an_ended_batch(workspace)
    part = batch.message_batches.latest("pk")
    request_delete(batch, now())
    with pytest.raises(CommandError, match=f"There is no part {part.pk}"):
        call_command(*command.format(part.pk).split())


def test_what_runs_is_not_deleted(workspace: Workspace) -> None:
    batch = make_batch(workspace, ["one"])
    make_part(batch, 1, "submitted", processing_status="in_progress")
    batch.refresh_from_db()
    assert not request_delete(batch, now())
    assert not step(now() + HOUR)


def test_a_run_of_the_same_moment_is_canceled_and_waited_for(workspace: Workspace) -> None:
    batch = an_ended_batch(workspace)
    request_delete(batch, now())
    part = make_part(batch, 2, "submitted", processing_status="in_progress")
    assert step(now() + SECOND)
    part.refresh_from_db()
    assert part.cancel_requested_at
    assert not step(now() + SECOND)
    assert MessageBatch.objects.count() == 4
    MessageBatch.objects.filter(pk=part.pk).update(state="stored")
    later = now() + HOUR
    while step(later):
        later += MINUTE
    assert not Batch.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.both_databases
def test_whoever_presses_send_first_is_not_deleted(workspace: Workspace) -> None:
    batch, pressing = an_ended_batch(workspace), threading.Event()
    batch.refresh_from_db()

    def press() -> None:
        with one_at_a_time(workspace):
            pressing.set()
            time.sleep(0.3)
            start(batch, Selection(kind="rest"), now(), token="second")

    with ThreadPoolExecutor(1) as pool:
        pressed = pool.submit(closing_connection(press))
        assert pressing.wait(10)
        assert batch.final, "as whoever looked at the page before still believes"
        assert not request_delete(batch, now())
        pressed.result(10)
    batch.refresh_from_db()
    assert (batch.deleting_at, batch.state) == (None, "building")


def closing_connection(work: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    return run


def test_a_file_that_is_being_read_is_waited_for(workspace: Workspace) -> None:
    batch = make_batch(workspace, ["one"])
    at = now()
    Upload.objects.update(lease_until=at + timedelta(seconds=20))
    request_delete(batch, at)
    assert step(at)
    assert not step(at + SECOND)
    assert Upload.objects.exists()
    assert step(at + MINUTE)
    assert not Upload.objects.exists()


@pytest.mark.both_databases
def test_files_go_once_nobody_can_take_them_and_outside_of_a_transaction(
    workspace: Workspace,
) -> None:
    batch = make_batch(workspace, ["one"])
    request_delete(batch, now())
    # A directory that cannot be removed, and then can.
    directory = archive.received(batch.upload_id or 0).parent
    kept = directory.rename(directory.with_name("kept"))
    directory.write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        step(now() + SECOND)
    assert Upload.objects.get().state == "deleting"
    assert not batch.upload or not batch.upload.read_again(now())
    directory.unlink()
    kept.rename(directory)
    assert step(now() + HOUR)
    assert not Batch.objects.exists()
    assert not Upload.objects.exists()
    assert not files()


def test_only_that_batch_is_removed_where_one_is_named(workspace: Workspace) -> None:
    batch, other = an_ended_batch(workspace), an_ended_batch(workspace)
    request_delete(batch, now())
    assert not step(now() + SECOND, other)
    assert step(now() + SECOND, batch)
