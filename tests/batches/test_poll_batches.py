"""`manage.py poll_batches`, as a real process."""

import signal
import time
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from batches.models import Batch, Run, Worker
from leases.models import machine_name
from tests.batches.operator import Operator, write_table
from tests.processes import Sandbox
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def api(sandbox: Sandbox, scope: str, tmp_path: Path) -> Operator:
    operator = Operator(sandbox.url, scope, tmp_path)
    operator.settings(batch_seconds=0)
    return operator


def queue(api: Operator, directory: Path) -> Batch:
    write_table(directory / "table.csv", 20)
    recipe = ["--model", "claude-haiku-4-5", "--prompt", "Say {{text}}"]
    number = api.run("run_batch", str(directory / "table.csv"), *recipe, "--no-wait").stdout
    return Batch.objects.get(pk=int(number))


@pytest.mark.both_databases
def test_it_works_until_it_is_stopped(api: Operator, tmp_path: Path) -> None:
    batch = queue(api, tmp_path)
    worker = api.start("poll_batches", "--interval", "0.1")
    deadline = time.monotonic() + 30
    while not batch.final:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        batch.refresh_from_db()
    assert Worker.objects.alive(timezone.now()).get().pid == worker.pid
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(10) == 0
    assert worker.communicate() == ("", "worker ready\n")
    assert batch.succeeded == 20
    assert not Worker.objects.exists()


def test_once_ends_when_nothing_is_due(api: Operator, tmp_path: Path) -> None:
    batch = queue(api, tmp_path)
    done = api.run("poll_batches", "--once")
    assert (done.returncode, done.stdout) == (0, "")
    batch.refresh_from_db()
    assert batch.state in (Batch.State.ENDED, Batch.State.IN_PROGRESS)
    assert len(api.creates()) == 1


def test_a_surprise_is_logged_and_the_others_go_on(api: Operator, tmp_path: Path) -> None:
    batch = queue(api, tmp_path)
    broken = Batch.objects.create(workspace=Workspace.objects.get(), name="no file")
    run = Run.objects.create(
        batch=broken, token="x", recipe={}, state=Run.State.QUEUED, due_at=timezone.now()
    )
    worker = api.start("poll_batches", "--interval", "0.1")
    deadline = time.monotonic() + 30
    while not batch.final:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        batch.refresh_from_db()
    worker.terminate()
    said = worker.communicate(timeout=10)[1]
    assert worker.returncode == 0
    assert "a step failed; its row is tried again later" in said
    assert "has no upload whose rows are read" in said
    run.refresh_from_db()
    assert (run.state, run.owner) == (Run.State.QUEUED, f"{machine_name()}:{worker.pid}")


@pytest.mark.parametrize("interval", ["0", "-1", "soon", "1e9"])
def test_a_bad_interval_is_refused(interval: str) -> None:
    with pytest.raises(CommandError, match="--interval"):
        call_command("poll_batches", "--interval", interval)
