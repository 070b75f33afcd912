import os
import re
import subprocess
import sys

import pytest

from tests.processes import ROOT, descendants, parents, wait_until

PATIENCE = 170


def torture(tmp_path, *options):
    command = [sys.executable, "-m", "tests.torture", "--seed", "7", *options]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    said = done.stdout + done.stderr
    assert not list(tmp_path.glob("sluice-torture-*")), said
    return done.returncode, said


def number(said, name):
    found = re.search(rf"^  {name} +(\d+)", said, re.MULTILINE)
    assert found, said
    return int(found[1])


@pytest.mark.both_databases
def test_nothing_is_lost_or_sent_twice_when_workers_die_or_sleep(tmp_path):
    status, said = torture(tmp_path, "--small", "--no-bugs")
    assert status == 0, said
    assert "nothing lost, nothing twice" in said
    assert number(said, "killed at points of submit") >= 10
    assert number(said, "killed at points of collect") >= 8
    assert number(said, "paused K3 before the connect") == 1


def test_the_checker_sees_what_careless_clients_do(tmp_path):
    bugs = ("create is retried", "there is no journal", "types are not counted")
    status, said = torture(tmp_path, *(f"--bug={bug}" for bug in bugs))
    assert status == 0, said
    assert number(said, "bugs caught") == len(bugs)


def test_what_is_planted_fails_the_run(tmp_path):
    options = ("--scene", "pauses before the wire", "--times", "1")
    status, said = torture(tmp_path, *options, "--bug", "fences are ignored")
    assert status == 1, said
    assert "VIOLATION double" in said
    assert "FAILED" in said


def test_nothing_outlives_a_run_that_is_ended(tmp_path):
    command = [sys.executable, "-m", "tests.torture", "--scene", "pauses", "--times", "30"]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE
    ) as run:
        # Its sandbox, the other host, a world, and in that a worker.
        wait_until(lambda: len(descendants(run.pid)) >= 4, PATIENCE)
        known = descendants(run.pid)
        run.terminate()
        assert run.wait(PATIENCE) == 143
    wait_until(lambda: not known & parents().keys())
    assert not list(tmp_path.glob("sluice-torture-*"))
