import os
import re
import signal
import sys
from pathlib import Path

import psycopg
import pytest

from tests import postgres
from tests.processes import NEEDS, running, wait_for_line, wait_until


def answers(directory: str) -> bool:
    try:
        psycopg.connect(host=directory, user="postgres", dbname="postgres").close()
    except psycopg.OperationalError:
        return False
    return True


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def binaries() -> Path:
    found = postgres.programs()
    if found is None:
        pytest.skip(NEEDS.format("postgresql"))
    return found


def test_a_cluster_lives_as_long_as_it_is_used(binaries: Path) -> None:
    with postgres.cluster(binaries) as url:
        directory = url.removeprefix("postgres://postgres@/").removesuffix("/sluice")
        with psycopg.connect(host=directory, user="postgres", dbname="postgres") as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("off",)
    assert not answers(directory)
    assert not Path(directory).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_signal_leaves_a_cluster_behind(
    binaries: Path, tmp_path: Path, number: signal.Signals
) -> None:
    command = 'echo "$$ at ${SLUICE_TEST_DATABASE_URL%/sluice}"; exec sleep 60'
    log = tmp_path / "log"
    with running(sys.executable, "-m", "tests.postgres", "sh", "-c", command, log=log) as process:
        line = wait_for_line(process, log, re.compile(r"(\d+) at postgres://postgres@/(/\S+)"))
        program, directory = int(line[1]), line[2]
        assert answers(directory)
        process.send_signal(number)
        assert process.wait(10) == (-number if number == signal.SIGKILL else 128 + number)
        wait_until(lambda: not Path(directory).exists())
        assert not answers(directory)
        if number == signal.SIGKILL:
            os.kill(program, signal.SIGTERM)
        else:
            assert not is_running(program)
