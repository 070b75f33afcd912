"""Processes killed in the middle: every part once at the API, every row once in the export."""

import re
import subprocess
import threading
import time
from pathlib import Path

import pytest

from batches.models import Batch
from tests.batches.gate import Gate
from tests.batches.operator import Operator, read_table, write_table
from tests.processes import Sandbox

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


@pytest.fixture
def operator(sandbox: Sandbox, scope: str, tmp_path: Path) -> Operator:
    operator = Operator(sandbox.url, scope, tmp_path)
    operator.settings(batch_seconds=0.5)
    return operator


def recipe(directory: Path, rows: int) -> list[str]:
    write_table(directory / "table.csv", rows)
    file = str(directory / "table.csv")
    return [file, "--model", "claude-haiku-4-5", "--prompt", "Say {{text}}", "--id-column", "id"]


def assert_every_row_once(operator: Operator, output: Path, count: int) -> None:
    rows = read_table(output)
    assert [row["id"] for row in rows] == [f"r{number}" for number in range(count)]
    assert {row["result"] for row in rows} == {"succeeded"}
    assert all(row["custom_id"] == row["id"] for row in rows)
    sent = operator.times_sent()
    assert set(sent) == set(range(2, count + 2))
    assert set(sent.values()) == {1}


def test_run_batch_is_killed_and_resumed(operator: Operator, tmp_path: Path) -> None:
    said = operator.run_and_kill(1, "run_batch", *recipe(tmp_path, 10_000))
    number = re.search(r"--resume (\d+)", said)[1]
    for creates in (3, 4, 7):
        operator.run_and_kill(creates, "run_batch", "--resume", number)
    output = tmp_path / "out.csv"
    done = operator.finish("run_batch", "--resume", number, "--output", str(output))
    assert done.returncode == 0, done.stderr
    assert len(operator.creates()) == 10
    assert_every_row_once(operator, output, 10_000)


@pytest.mark.parametrize("passed", [False, True], ids=["before it is created", "before the answer"])
def test_a_sender_killed_at_the_create(operator: Operator, tmp_path: Path, passed: bool) -> None:
    """With nothing at the API a person is asked; what is there is found without asking."""
    victims: list[subprocess.Popen[str]] = []
    released = threading.Event()

    def kill_at_the_second(reached: bool) -> None:
        if victims and reached is passed and len(operator.creates()) == 1 + passed:
            victims.pop().kill()
            released.set()
            raise ConnectionAbortedError

    with Gate(operator.url, kill_at_the_second) as gate:
        operator.environment["CLAUDE_API_URL"] = gate.url
        victims.append(operator.start("run_batch", *recipe(tmp_path, 1_000), "--part-size", "300"))
        said = victims[0].communicate(timeout=60)[1]
        assert released.is_set(), said
        number = re.search(r"--resume (\d+)", said)[1]
        output = tmp_path / "out.csv"
        arguments = ["run_batch", "--resume", number, "--output", str(output)]
        done = operator.run(*arguments)
        asked = done.returncode == 3
        assert asked is not passed, done.stderr
        if asked:
            assert operator.answer(done.stderr) == 1
            done = operator.run(*arguments)
    assert done.returncode == 0, done.stderr
    assert len(operator.creates()) == 4
    assert_every_row_once(operator, output, 1_000)


def test_two_workers_are_killed_and_started_again(operator: Operator, tmp_path: Path) -> None:
    queued = operator.run("run_batch", *recipe(tmp_path, 1_000), "--no-wait")
    number = queued.stdout.strip()
    assert number.isdigit(), queued.stderr
    for creates in (2, 6, 9):
        other = operator.start("poll_batches", "--interval", "0.1")
        operator.run_and_kill(creates, "poll_batches", "--interval", "0.1")
        other.kill()
        other.communicate()
    output = tmp_path / "out.csv"
    done = operator.finish("run_batch", "--resume", number, "--output", str(output))
    assert done.returncode == 0, done.stderr
    assert_every_row_once(operator, output, 1_000)


def test_two_workers_share_the_work(operator: Operator, tmp_path: Path) -> None:
    number = operator.run("run_batch", *recipe(tmp_path, 1_000), "--no-wait").stdout.strip()
    workers = [operator.start("poll_batches", "--interval", "0.1") for _ in range(2)]
    batch = Batch.objects.get(pk=number)
    deadline = time.monotonic() + 60
    while not batch.final:
        assert time.monotonic() < deadline, "the workers do not get done"
        time.sleep(0.1)
        batch.refresh_from_db()
    for worker in workers:
        worker.terminate()
    assert [worker.wait(20) for worker in workers] == [0, 0]
    assert [worker.communicate()[1] for worker in workers] == ["worker ready\n"] * 2
    output = tmp_path / "out.csv"
    assert operator.run("export_batch", number, str(output)).returncode == 0
    assert_every_row_once(operator, output, 1_000)
