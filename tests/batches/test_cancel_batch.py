"""`manage.py cancel_batch`."""

import threading
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from batches import building, parsing, starting
from batches.exporting import export
from batches.following import follow
from batches.models import Batch, MessageBatch
from batches.planning import Selection
from batches.recipe import Recipe
from batches.worker import turn
from tests.batches.operator import Operator, write_table
from tests.processes import Sandbox
from workspaces.models import ApiKey, Workspace

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


@pytest.fixture
def api(sandbox: Sandbox, scope: str, settings, tmp_path: Path) -> Operator:
    settings.SANDBOX_URL = sandbox.url
    operator = Operator(sandbox.url, scope, tmp_path)
    operator.settings(batch_seconds=60)
    return operator


@pytest.fixture
def batch(api: Operator, tmp_path: Path) -> Batch:
    """Two built parts of a table of twelve rows, not sent yet."""
    write_table(tmp_path / "table.csv", 12)
    workspace = Workspace.objects.create(name="Demo", slug="demo")
    ApiKey.seal(workspace, ApiKey.Api.SANDBOX, api.key)
    upload = starting.receive(tmp_path / "table.csv", workspace, timezone.now())
    recipe = Recipe(model="claude-haiku-4-5", prompt="Say {{text}}")
    batch = starting.draft(upload, "table", recipe)
    assert parsing.step(timezone.now(), batch)
    batch.refresh_from_db()
    starting.start(batch, Selection(part_size=6), timezone.now())
    assert building.step(timezone.now(), batch)
    return batch


def end(batch: Batch) -> Batch:
    assert follow(batch, threading.Event(), lambda sentence: None) == []
    return batch


def test_running_parts_end_at_the_api_and_keep_what_is_paid(batch: Batch, api: Operator) -> None:
    turn(only=batch)
    turn(only=batch)
    assert len(api.creates()) == 2
    call_command("cancel_batch", batch.pk)
    batch.refresh_from_db()
    assert batch.state == Batch.State.CANCELING
    end(batch)
    assert batch.state == Batch.State.ENDED
    assert batch.canceled > 0
    assert batch.succeeded + batch.canceled == batch.sent == 12
    assert set(batch.message_batches.values_list("state", flat=True)) == {"stored"}


def test_parts_that_were_not_sent_never_are(batch: Batch, api: Operator) -> None:
    call_command("cancel_batch", batch.pk)
    end(batch)
    assert (batch.not_sent, batch.sent) == (12, 0)
    states = set(batch.message_batches.values_list("state", "reason"))
    assert states == {(MessageBatch.State.DROPPED, "Canceled before it was sent.")}
    assert api.creates() == []


def test_a_second_time_there_is_nothing_to_cancel(batch: Batch, capsys) -> None:
    call_command("cancel_batch", batch.pk)
    call_command("cancel_batch", batch.pk)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"Canceled: 2 parts of batch {batch.pk}.")
    assert said[1] == f"Batch {batch.pk} has nothing left to cancel."


def test_a_run_that_is_not_built_is_never_built(batch: Batch, capsys) -> None:
    batch.message_batches.all().delete()
    batch.runs.update(state="queued", due_at=timezone.now())
    call_command("cancel_batch", batch.pk)
    said = capsys.readouterr().err
    assert said == f"Batch {batch.pk} is canceled before it was built: nothing of it is sent.\n"
    while building.step(timezone.now(), batch):
        assert not batch.message_batches.exists()
    end(batch)
    assert batch.state == Batch.State.REFUSED
    exported = b"".join(export(batch, "csv")).decode()
    assert exported.count("not_sent,,,,,Canceled before it was built.") == 12


def test_an_unknown_batch(db: None) -> None:
    with pytest.raises(CommandError, match="There is no batch 4711"):
        call_command("cancel_batch", "4711")
