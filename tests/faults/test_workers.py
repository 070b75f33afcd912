"""F43 and F45: workers that are told to stop, and one that is paused past its lease."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from batches import submitting
from batches.models import MessageBatch
from tests.batches.stage import HOUR, SandboxScope, make_batch, make_part, now
from tests.processes import running, wait_until

pytestmark = pytest.mark.django_db(transaction=True)
Start = Callable[[], AbstractContextManager[subprocess.Popen]]


@pytest.fixture
def part(workspace: Any) -> MessageBatch:
    return make_part(make_batch(workspace))


@pytest.fixture
def start(at_sandbox: SandboxScope, tmp_path: Path) -> Start:
    command = [sys.executable, "manage.py", "poll_batches", "--interval", "0.1"]
    environment = os.environ | {"SANDBOX_URL": at_sandbox.url}
    return lambda: running(*command, log=tmp_path / "log", environment=environment)


def state(part: MessageBatch) -> str:
    part.refresh_from_db()
    return part.state


def test_f43_sigterm_waits_for_the_post_that_is_under_way(at_sandbox, part, start, said):
    fault = {"on": "create", "kind": "delay", "seconds": 1.5, "when": "after_effect"}
    at_sandbox.call("/_sandbox/faults", fault)
    with start() as worker:
        wait_until(lambda: state(part) == "sending")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) == 0
    [create] = at_sandbox.ledger()["creates"]
    assert (state(part), part.message_batch_id) == ("submitted", create["id"])
    assert create["id"] in said(part.batch)


def test_f43_second_sigterm_does_not_wait_and_the_part_is_looked_for(at_sandbox, part, start, said):
    fault = {"on": "create", "kind": "delay", "seconds": 30, "when": "after_effect"}
    at_sandbox.call("/_sandbox/faults", fault)
    with start() as worker:
        wait_until(lambda: bool(at_sandbox.ledger()["creates"]))
        worker.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        begun = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) != 0
        assert time.monotonic() - begun < 8
    assert state(part) == "sending"
    with start():
        wait_until(lambda: state(part) == "unknown")
    text = said(part.batch)
    assert "The worker that sent it died before it had the answer." in text
    assert "Nothing is sent again by itself." in text
    assert len(at_sandbox.ledger()["creates"]) == 1


def test_f45_worker_that_was_paused_past_its_lease_sends_nothing(at_sandbox, part, start, said):
    at_sandbox.call("/_sandbox/faults", {"on": "list", "kind": "delay", "seconds": 1})
    with start() as worker:
        wait_until(lambda: MessageBatch.objects.filter(fence=1).exists())
        worker.send_signal(signal.SIGSTOP)
        try:
            assert submitting.step(now() + HOUR)
            assert state(part) == "submitted"
        finally:
            worker.send_signal(signal.SIGCONT)
        time.sleep(1.5)
        assert worker.poll() is None
    [create] = at_sandbox.ledger()["creates"]
    assert state(part) in ("submitted", "stored")
    assert part.message_batch_id == create["id"]
    assert create["id"] in said(part.batch)
