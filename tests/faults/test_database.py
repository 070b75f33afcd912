"""F38 and F39: the database is locked for a while, or goes away."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from batches import submitting
from tests import postgres
from tests.batches.stage import SandboxScope, make_batch, make_part, now, remote
from tests.processes import NEEDS, ROOT, Sandbox, running, wait_for_line
from tests.scripted_api import BATCHES, Reply, ScriptedApi, page


@contextmanager
def somebody_writes(seconds: float) -> Iterator[None]:
    """Another program holds the lock of the database, and lets go of it after a while."""
    begun = threading.Event()

    def hold() -> None:
        other = sqlite3.connect(settings.DATABASES["default"]["NAME"], isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        begun.set()
        time.sleep(seconds)
        other.execute("ROLLBACK")
        other.close()

    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait(5)
    yield
    thread.join()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the lock is SQLite's")
@pytest.mark.django_db(transaction=True)
def test_f38_writers_wait_for_a_lock_and_lose_nothing(api: ScriptedApi, workspace: Any) -> None:
    part = make_part(make_batch(workspace), size=3)
    api.plan("GET", BATCHES, page())

    def create(request: Any) -> Reply:
        holding.__enter__()
        return Reply(remote("msgbatch_1", 3))

    holding = somebody_writes(1.5)
    api.plan("POST", BATCHES, create)
    begun = time.monotonic()
    assert submitting.step(now())
    assert time.monotonic() - begun > 1
    holding.__exit__(None, None, None)
    part.refresh_from_db()
    assert (part.state, part.message_batch_id) == ("submitted", "msgbatch_1")


def manage(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_f39_worker_outlives_a_restart_of_the_database(
    sandbox: Sandbox, scope: str, tmp_path: Path
) -> None:
    binaries = postgres.programs()
    if binaries is None:
        pytest.skip(NEEDS.format("postgresql"))
    there = SandboxScope(sandbox.url, scope)
    there.change(batch_seconds=2)
    (tmp_path / "rows.jsonl").write_text(json.dumps(line_of(1)) + "\n")
    with postgres.cluster(binaries) as url:
        # Without a pool of its own: the database that postgres makes itself serves as well.
        environment = os.environ | {
            "DATABASE_URL": url.removesuffix("sluice") + "postgres",
            "CLAUDE_API_URL": sandbox.url,
            "ANTHROPIC_API_KEY": scope,
        }
        manage(environment, "migrate", "--verbosity", "0")
        id = manage(environment, "run_batch", str(tmp_path / "rows.jsonl"), "--no-wait").strip()
        command = [sys.executable, "manage.py", "poll_batches", "--interval", "0.1"]
        log = tmp_path / "log"
        with running(*command, log=log, environment=environment) as worker:
            deadline = time.monotonic() + 20
            while not there.ledger()["creates"]:
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            # A row in its hands would be taken up again only when its lease has run out.
            time.sleep(0.5)
            data = url.split("@/")[1].removesuffix("/sluice") + "/data"
            control = [binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w"]
            postgres.run(*control, "stop")
            wait_for_line(worker, log, re.compile("The database does not answer"))
            options = f"{postgres.OPTIONS} -k {Path(data).parent}"
            postgres.run(*control[:3], "-w", "-l", f"{data}/../log", "-o", options, "start")
            deadline = time.monotonic() + 30
            while '"succeeded"' not in exported(environment, id):
                assert time.monotonic() < deadline, log.read_text()
    assert len(there.ledger()["creates"]) == 1


def exported(environment: dict[str, str], id: str) -> str:
    return manage(environment, "export_batch", id, "-", "--format", "jsonl")


def line_of(number: int) -> dict[str, Any]:
    message = {"role": "user", "content": "Name a river."}
    params = {"model": "claude-haiku-4-5", "max_tokens": 20, "messages": [message]}
    return {"custom_id": f"row-{number}", "params": params}
