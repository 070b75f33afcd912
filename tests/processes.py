"""Real processes for tests: started, waited for, ended, and never left behind."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
# The last line of a run names the packages of these skips.
NEEDS = "needs the Debian package {}"
READY = re.compile(r"sandbox ready on (http://\S+)")


@contextmanager
def running(
    *command: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    pass_fds: Sequence[int] = (),
) -> Iterator[subprocess.Popen]:
    """A program whose output goes to `log`; ended politely, then not.

    It knows that it belongs to the tests, so that even a killed run leaves nothing behind.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={
                **(os.environ if environment is None else environment),
                "PYTHONUNBUFFERED": "1",
                "SLUICE_PARENT": str(os.getpid()),
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
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


def wait_until(is_true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"waited for {seconds} s"
        time.sleep(0.05)


def parents() -> dict[int, int]:
    """The parent of every process of this machine."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != "Z":
            found[int(path.parent.name)] = int(fields[1])
    return found


def descendants(pid: int) -> set[int]:
    known, generation = parents(), {pid}
    found: set[int] = set()
    while generation := {child for child, parent in known.items() if parent in generation}:
        found |= generation
    return found


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Sandbox:
    url: str
    process: subprocess.Popen

    def fault(self, key: str, on: str, kind: str, **fields: Any) -> None:
        """What happens to the next request of this key, as docs/sandbox.md lists."""
        self._ask(key, "POST", "/_sandbox/faults", {"on": on, "kind": kind, **fields})

    def faults(self, key: str) -> list[dict[str, Any]]:
        """The faults of this key, with the requests that each saw and was applied to."""
        return self._ask(key, "GET", "/_sandbox/faults")["faults"]

    def clear_faults(self, key: str) -> None:
        self._ask(key, "DELETE", "/_sandbox/faults")

    def ledger(self, key: str) -> dict[str, Any]:
        """What reached the sandbox with this key, without the custom_ids."""
        return self._ask(key, "GET", "/_sandbox/ledger?custom_ids=0")

    def _ask(self, key: str, method: str, path: str, body: Any = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        headers = {"x-api-key": key, "content-type": "application/json"}
        request = urllib.request.Request(self.url + path, content, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(error.read().decode()) from None


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for the whole run; each test talks to it with the key of its own `scope`."""
    directory = tmp_path_factory.mktemp("sandbox")
    log = directory / "log"
    options = ["--port", "0", "--batch-seconds", "0.5", "--token-rate", "0"]
    command = [sys.executable, "-m", "sandbox", *options, "--data", str(directory / "data")]
    with running(*command, log=log) as process:
        url = wait_for_line(process, log, READY)[1]
        yield Sandbox(url, process)
        assert process.poll() is None, f"the sandbox died:\n{log.read_text()}"
        with urllib.request.urlopen(f"{url}/_sandbox/health", timeout=5) as reply:
            assert reply.status == 200
        assert end(process) == 0, f"the sandbox did not end cleanly:\n{log.read_text()}"


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis that keeps nothing, on a socket of its own."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip(NEEDS.format("redis-server"))
    # A socket's path has to be short.
    with tempfile.TemporaryDirectory(prefix="redis-") as name:
        path, log = f"{name}/socket", tmp_path_factory.mktemp("redis") / "log"
        options = ["--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no"]
        with running(program, *options, "--dir", name, log=log) as process:
            wait_for_line(process, log, re.compile("ready to accept connections"))
            yield f"unix://{path}"
