"""Real processes for tests: started, waited for, ended, and never left behind."""

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
READY = re.compile(r"sandbox ready on (http://\S+)")


def skip_without(package: str, *programs: str | Path) -> None:
    """Skip, naming the Debian package, unless all the programs are there."""
    if not programs or not all(Path(program).exists() for program in programs):
        pytest.skip(f"needs the Debian package {package}")


@contextmanager
def running(
    *command: str, log: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen]:
    """A program whose output goes to `log`; ended politely, then not."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            end(process)


def end(process: subprocess.Popen, seconds: float = 10) -> int:
    process.terminate()
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def wait_for_line(process: subprocess.Popen, log: Path, pattern: re.Pattern[str]) -> re.Match[str]:
    """The first line of the log that matches; fails with the log when the program ends first."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        if match := pattern.search(log.read_text()):
            return match
        if ended:
            break
        time.sleep(0.05)
    raise AssertionError(f"no {pattern.pattern!r} from {process.args}:\n{log.read_text()}")


@dataclass
class Sandbox:
    url: str
    process: subprocess.Popen


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for the whole run; each test talks to it with the key of its own `scope`."""
    directory = tmp_path_factory.mktemp("sandbox")
    log = directory / "log"
    options = ["--port", "0", "--batch-seconds", "0.5", "--token-rate", "0"]
    command = [sys.executable, "-m", "sandbox", *options, "--data", str(directory / "data")]
    environment = {"SLUICE_PARENT": str(os.getpid())}
    with running(*command, log=log, environment=environment) as process:
        url = wait_for_line(process, log, READY)[1]
        yield Sandbox(url, process)
        assert process.poll() is None, f"the sandbox died:\n{log.read_text()}"
        with urllib.request.urlopen(f"{url}/_sandbox/health", timeout=5) as reply:
            assert reply.status == 200
        assert end(process) == 0, f"the sandbox did not end cleanly:\n{log.read_text()}"
