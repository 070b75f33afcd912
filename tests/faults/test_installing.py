"""F46 and F48: programs, tables and machines that do not belong together."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from batches.models import MessageBatch, Run, Worker
from batches.versions import find_difference, known_migrations
from leases.models import machine_name
from tests.batches.stage import make_batch, make_workspace, now
from tests.processes import running, wait_for_line, wait_until

on_sqlite = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="other databases serve many machines"
)
NEWER = ("batches", "9999_of_tomorrow")


@contextmanager
def database_of_tomorrow() -> Iterator[None]:
    recorder = MigrationRecorder(connection)
    recorder.record_applied(*NEWER)
    try:
        yield
    finally:
        recorder.record_unapplied(*NEWER)


@pytest.mark.django_db(transaction=True)
def test_f46_worker_waits_while_the_tables_are_of_another_version(tmp_path: Path) -> None:
    batch = make_batch(make_workspace(), ["one"])
    log = tmp_path / "log"
    command = [sys.executable, "manage.py", "poll_batches", "--interval", "0.1"]
    with database_of_tomorrow():
        run = Run.objects.create(batch=batch, token="1", recipe=batch.recipe, state="queued")
        Run.objects.filter(pk=run.pk).update(due_at=now())
        with running(*command, log=log) as worker:
            wait_for_line(worker, log, re.compile("newer than this program .*touches nothing"))
            assert not MessageBatch.objects.exists()
            assert not Worker.objects.exists()
            MigrationRecorder(connection).record_unapplied(*NEWER)
            wait_until(MessageBatch.objects.exists)
    assert log.read_text().count("touches nothing") == 1


@pytest.mark.django_db
def test_f46_what_is_not_migrated_is_named() -> None:
    assert find_difference() == ""
    last = max(name for name in known_migrations() if name[0] == "batches")
    recorder = MigrationRecorder(connection)
    recorder.record_unapplied(*last)
    assert find_difference() == (
        f"The database is older than this program (batches.{last[1]}): migrate it."
    )
    with pytest.raises(CommandError, match=r"older than this program .* Nothing was sent\.") as end:
        call_command("run_batch", "rows.csv")
    assert end.value.returncode == 2


def be_elsewhere(**fields: object) -> Worker:
    values = {"host": "blue/0badb007/4026531836", "pid": 7, "seen_at": now()}
    return Worker.objects.create(**values | fields)


@on_sqlite
@pytest.mark.django_db
@pytest.mark.parametrize("command", ["serve", "poll_batches"])
def test_f48_second_machine_is_refused_on_sqlite(command: str) -> None:
    be_elsewhere()
    said = "A worker on blue is at work on this database, which is SQLite"
    with pytest.raises(CommandError, match=said) as end:
        call_command(command)
    assert "use PostgreSQL: docs/running.md" in str(end.value)


@on_sqlite
@pytest.mark.django_db
def test_f48_second_machine_sends_nothing_from_a_shell() -> None:
    be_elsewhere()
    with pytest.raises(CommandError, match=r"at work on this database.* Nothing was sent") as end:
        call_command("run_batch", "rows.csv")
    assert end.value.returncode == 2


@pytest.mark.django_db
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"seen_at": now() - timedelta(minutes=1)}, id="it went away"),
        pytest.param({"host": machine_name()}, id="another worker of this machine"),
        pytest.param(
            {"host": f"container/{'/'.join(machine_name().split('/')[1:])}"},
            id="a container of this machine",
        ),
        pytest.param(
            {"host": f"{machine_name().split('/')[0]}/0badb007/1"}, id="before it started anew"
        ),
    ],
)
def test_f48_nobody_else_is_in_the_way(changes: dict[str, object]) -> None:
    be_elsewhere(**changes)
    call_command("check", databases=["default"], tags=["database"])
