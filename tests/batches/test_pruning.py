"""What is older than a workspace keeps goes by itself, and nothing that anybody still needs."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from batches import archive, deleting, pruning
from batches.models import Batch, MessageBatch, Run, Upload
from tests.batches.stage import HOUR, SECOND, make_batch, make_part, make_workspace, now
from workspaces import retention
from workspaces.models import Event, Workspace

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def workspace(db: None) -> Workspace:
    workspace = make_workspace()
    Workspace.objects.filter(pk=workspace.pk).update(retention_days=30)
    workspace.refresh_from_db()
    return workspace


def make_old(
    workspace: Workspace, days: int = 31, state: str = "stored", **fields: object
) -> Batch:
    """A Batch whose only part has ended so many days ago."""
    batch, then = make_batch(workspace, ["one"]), now() - days * DAY
    moments = {"created_at": then, "sent_at": then, "ended_at": then, "stored_at": then}
    known: dict[str, object] = {
        "message_batch_id": f"msgbatch_{batch.pk}",
        "processing_status": "ended",
        "answers": {"succeeded": 1} if state == "stored" else {},
    }
    make_part(batch, 1, **{"state": state, **known, **moments, "due_at": None, **fields})
    Run.objects.filter(batch=batch).update(requested_at=then)
    Batch.objects.filter(pk=batch.pk).update(created_at=then)
    batch.refresh_from_db()
    return batch


def make_draft(workspace: Workspace, days: int = 31) -> Batch:
    batch = make_batch(workspace, ["one"])
    Batch.objects.filter(pk=batch.pk).update(created_at=now() - days * DAY)
    return batch


def age(kind: str, owner_id: int, days: float) -> None:
    directory = Path(settings.DATA_DIR) / kind / str(owner_id)
    then = (now() - days * DAY).timestamp()
    for path in [*directory.iterdir(), directory]:
        os.utime(path, (then, then))


def kept() -> list[Batch]:
    return list(Batch.objects.filter(deleting_at=None).order_by("pk"))


def work(at: datetime | None = None) -> None:
    at = at or now() + SECOND
    while pruning.step(at) or deleting.step(at):
        pass


@pytest.mark.both_databases
def test_what_is_older_goes_and_the_rest_stays(workspace: Workspace) -> None:
    old, fresh = make_old(workspace), make_old(workspace, 29)
    size = pruning.files_of(old)
    assert size > 0
    work()
    assert kept() == [fresh]
    assert not Batch.objects.filter(pk=old.pk).exists()
    assert not archive.measure("uploads", old.upload_id or 0).size
    event = Event.objects.get(verb="deleted")
    said = f"#{old.pk} Themes was deleted, as results are kept for 30 days: 1 request in 1 part."
    assert (event.sentence, event.actor) == (said, None)


def test_without_a_number_of_days_everything_stays(workspace: Workspace) -> None:
    batch = make_old(workspace, 4000)
    Workspace.objects.update(retention_days=None)
    assert not pruning.step(now())
    assert kept() == [batch]


@pytest.mark.parametrize(
    "fields",
    [
        {"state": "queued"},
        {"state": "sending"},
        {"state": "unknown"},
        {"state": "unknown", "settled_at": now()},
        {"state": "submitted", "processing_status": "in_progress"},
        {"state": "submitted"},
        {"state": "incomplete"},
    ],
)
def test_what_is_not_wholly_here_stays_however_old(
    workspace: Workspace, fields: dict[str, object]
) -> None:
    batch = make_old(workspace, 400, **fields)
    work()
    assert kept() == [batch]
    assert not Event.objects.filter(verb="deleted").exists()


@pytest.mark.parametrize("column", ["ended_at", "stored_at", "sent_at"])
def test_the_last_thing_that_happened_to_it_counts(workspace: Workspace, column: str) -> None:
    batch = make_old(workspace, 400)
    MessageBatch.objects.update(**{column: now() - 29 * DAY})
    work()
    assert kept() == [batch]


def test_a_run_of_late_counts(workspace: Workspace) -> None:
    batch = make_old(workspace, 400)
    Run.objects.update(requested_at=now())
    work()
    assert kept() == [batch]


def test_next_door_nothing_happens(workspace: Workspace) -> None:
    other = make_old(make_workspace("other"), 400)
    make_old(workspace)
    work()
    assert kept() == [other]
    assert archive.measure("uploads", other.upload_id or 0).size


def test_drafts_that_nobody_touched_go_too(workspace: Workspace) -> None:
    old, saved, arriving = [make_draft(workspace) for _ in range(3)]
    Batch.objects.filter(pk=saved.pk).update(saved_at=now() - DAY)
    Upload.objects.filter(batches=arriving).update(state="queued")
    work()
    assert kept() == [saved, arriving]
    assert not Batch.objects.filter(pk=old.pk).exists()


def test_a_workspace_is_looked_at_every_hour(workspace: Workspace) -> None:
    at = now()
    assert pruning.step(at)
    assert not pruning.step(at + HOUR - SECOND)
    assert pruning.step(at + HOUR)
    assert not pruning.step(at + 3 * HOUR, make_old(workspace)), "a run_batch takes its own alone"


def test_the_copy_at_the_api_goes_too_where_it_is_ours(workspace: Workspace) -> None:
    Workspace.objects.update(retention_days=7)
    workspace.refresh_from_db()
    ours, of_a_script = make_old(workspace, 8), make_old(workspace, 8)
    MessageBatch.objects.filter(batch=of_a_script).update(run=None)
    assert pruning.step(now())
    wishes = dict(Batch.objects.values_list("pk", "delete_remote"))
    assert wishes == {ours.pk: True, of_a_script.pk: False}


def test_an_upload_that_stopped_arriving_goes_after_a_week(workspace: Workspace) -> None:
    batches = [make_batch(workspace, ["one"]) for _ in range(2)]
    stopped, going_on = [batch.upload for batch in batches]
    Upload.objects.update(state="receiving", size=100, received=49)
    assert stopped is not None
    assert going_on is not None
    age("uploads", stopped.pk, 7.1)
    age("uploads", going_on.pk, 6.9)
    assert list(pruning.abandoned_uploads(workspace, now())) == [stopped]
    work()
    assert kept() == [batches[1]]
    assert Upload.objects.get() == going_on
    assert not archive.measure("uploads", stopped.pk).size
    assert "as its file stopped arriving over 7 days ago" in Event.objects.get().sentence


def test_a_file_that_was_to_replace_another_gives_it_back(workspace: Workspace) -> None:
    batch, late = make_batch(workspace, ["one"]), make_batch(workspace, ["two"])
    first, second = batch.upload, late.upload
    assert first is not None
    assert second is not None
    late.delete()
    Upload.objects.filter(pk=second.pk).update(state="receiving", replaces=first)
    Batch.objects.filter(pk=batch.pk).update(upload=second)
    age("uploads", second.pk, 8)
    assert pruning.prune_uploads(workspace, now()) == 1
    batch.refresh_from_db()
    assert batch.upload == first
    assert list(Upload.objects.all()) == [first]


def test_a_read_file_that_no_batch_uses_goes_after_a_month(workspace: Workspace) -> None:
    used = make_batch(workspace, ["one"]).upload
    unused = make_batch(workspace, ["two"])
    unused_id = unused.upload_id or 0
    unused.delete()
    assert used is not None
    for upload_id in (used.pk, unused_id):
        age("uploads", upload_id, 29)
    assert pruning.prune_uploads(workspace, now()) == 0
    for upload_id in (used.pk, unused_id):
        age("uploads", upload_id, 31)
    assert pruning.prune_uploads(workspace, now()) == 1
    assert Upload.objects.get() == used


def test_files_without_a_row_are_found_and_named(workspace: Workspace) -> None:
    batch = make_old(workspace)
    part = batch.message_batches.get()
    journal = b'{"nonce":"x","message_batch":{"id":"msgbatch_9"},"request_id":""}'
    for kind, owner_id in (("message_batches", 900), ("runs", 7), ("uploads", 8)):
        directory = Path(settings.DATA_DIR) / kind / str(owner_id)
        directory.mkdir(parents=True)
        (directory / "created.json").write_bytes(journal)
        age(kind, owner_id, 1.1)
    (Path(settings.DATA_DIR) / "message_batches" / "notes").mkdir()
    age("message_batches", part.pk, 400)
    found = {(one.kind, one.owner_id): one for one in pruning.find_orphans(now())}
    assert set(found) == {("message_batches", 900), ("runs", 7), ("uploads", 8)}
    assert found["message_batches", 900].at_the_api == "msgbatch_9"
    assert found["message_batches", 900].size == len(journal)
    age("runs", 7, 0.9)
    assert len(list(pruning.find_orphans(now()))) == 2
    # The worker leaves them alone, however old they are.
    work(now() + 400 * DAY)
    assert len(list(pruning.find_orphans(now() + DAY))) >= 3


def test_an_orphan_that_got_a_row_or_a_file_meanwhile_stays(workspace: Workspace) -> None:
    directory = Path(settings.DATA_DIR) / "uploads" / "900"
    directory.mkdir(parents=True)
    age("uploads", 900, 2)
    orphan = next(pruning.find_orphans(now()))
    (directory / "arriving").write_bytes(b"x")
    assert not pruning.remove_orphan(orphan, now())
    age("uploads", 900, 2)
    fields = {"workspace": workspace, "filename": "x", "token": "x", "size": 1}
    upload = Upload.objects.create(pk=900, **fields)
    assert not pruning.remove_orphan(orphan, now())
    upload.delete()
    assert pruning.remove_orphan(orphan, now())
    assert not directory.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.both_databases
def test_two_prune_at_once_and_each_batch_goes_once(workspace: Workspace) -> None:
    batches = [make_old(workspace) for _ in range(6)]
    before = retention.limit(30, now())

    def prune(_: int) -> int:
        try:
            return pruning.prune_batches(workspace, before, now())
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        numbers = list(pool.map(prune, range(3)))
    assert sum(numbers) == len(batches)
    assert Event.objects.filter(verb="deleted").count() == len(batches)
    assert kept() == []
