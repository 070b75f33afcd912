import subprocess
import sys

import pytest

from tests.processes import ROOT


def torture(*options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "tests.torture", "--seed", "7", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.both_databases
@pytest.mark.parametrize(("scene", "times"), [("submit", "13"), ("collect", "10"), ("storm", "3")])
def test_nothing_is_lost_or_sent_twice_when_workers_die(scene, times):
    status, said = torture("--scene", scene, "--times", times)
    assert status == 0, said
    assert "nothing lost, nothing twice" in said


@pytest.mark.both_databases
def test_a_worker_that_slept_past_its_lease_sends_nothing():
    status, said = torture("--scene", "pauses before the wire", "--times", "1")
    assert status == 0, said
    assert "paused K3 before the connect" in said


@pytest.mark.parametrize(
    ("bug", "scene", "seen"),
    [
        ("create is retried", "submit while answers get lost", "double"),
        ("there is no journal", "database restored", "double"),
    ],
)
def test_the_checker_sees_what_a_careless_client_does(bug, scene, seen):
    status, said = torture("--scene", scene, "--bug", bug)
    assert status == 1, said
    assert f"VIOLATION {seen}" in said
