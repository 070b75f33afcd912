"""The program: its options, its state on disk, its end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.processes import READY, running, wait_for_line
from tests.sandbox.api import Api, body, request

COMMAND = [sys.executable, "-m", "sandbox", "--port", "0"]
KEY = "sk-ant-process-1"


@contextmanager
def started(tmp_path: Path, *options: str) -> Iterator[tuple[Api, subprocess.Popen]]:
    log = tmp_path / "log"
    with running(*COMMAND, *options, log=log) as process:
        api = Api(wait_for_line(process, log, READY)[1], KEY)
        with api.http:
            yield api, process


def test_it_works(tmp_path: Path) -> None:
    with started(tmp_path, "--batch-seconds", "0") as (api, process):
        assert len(api.results(api.finish(request("a")))) == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0
    assert READY.fullmatch((tmp_path / "log").read_text().strip())


def test_it_misbehaves_from_the_start(tmp_path: Path) -> None:
    faults = ("--fault", "list:503", "--fault", "create:drop,when=after_effect,times=null")
    json_too = ("--fault", '{"on": "models", "kind": "body", "form": "html"}')
    with started(tmp_path, *faults, *json_too) as (api, _):
        assert api.get("/v1/messages/batches").status_code == 503
        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError):
                api.try_create(request())
        assert len(api.get("/v1/messages/batches").json()["data"]) == 2
        assert api.get("/v1/models").headers["content-type"] == "text/html"
        neighbour = Api(str(api.http.base_url), "sk-ant-neighbour-1")
        with neighbour.http:
            assert neighbour.get("/v1/messages/batches").status_code == 503


def test_state_survives_a_kill(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "data"))
    with started(tmp_path, *data) as (api, process):
        api.set(batch_seconds=60, clock_offset=5)
        batches = [api.create(request(f"r{number}")) for number in range(5)]
        ledger = api.ledger()
        process.kill()
        process.wait()
    with started(tmp_path, *data) as (api, _):
        listed = api.get("/v1/messages/batches").json()["data"]
        assert listed == batches[::-1]
        assert api.ledger() == ledger
        settings = api.set(clock_offset=95)
        assert settings["batch_seconds"] == 60
        assert list(api.results(batches[0])) == ["r0"]


def test_what_was_being_received_is_gone_after_a_kill(tmp_path: Path) -> None:
    data = tmp_path / "data"
    unfinished = data / "process" / "batches" / "incoming-1"
    unfinished.mkdir(parents=True)
    (unfinished / "body").write_bytes(b"{")
    with started(tmp_path, "--data", str(data)) as (api, _):
        assert api.get("/v1/messages/batches").json()["data"] == []
    assert not unfinished.exists()


def test_it_ends_at_once_while_a_stream_is_open(tmp_path: Path) -> None:
    with started(tmp_path, "--token-rate", "1") as (api, process):
        told = body("Tell me a story", stream=True)
        with api.http.stream("POST", "/v1/messages", json=told) as reply:
            parts = reply.iter_raw()
            assert next(parts)
            stopped = time.monotonic()
            process.terminate()
            with pytest.raises(httpx.RemoteProtocolError):
                list(parts)
        assert process.wait(5) == 0
        assert time.monotonic() - stopped < 3


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    temporary, log = tmp_path / "temporary", tmp_path / "log"
    temporary.mkdir()
    environment = {"TMPDIR": str(temporary)}
    with running(*COMMAND, log=log, environment=environment) as process:
        api = Api(wait_for_line(process, log, READY)[1], KEY)
        with api.http:
            api.create()
        process.terminate()
        process.wait(5)
    assert list(temporary.iterdir()) == []


def test_it_ends_with_the_one_who_started_it(tmp_path: Path) -> None:
    """A shell starts it, names itself in SLUICE_PARENT, and dies."""
    script = f'SLUICE_PARENT=$$ "{sys.executable}" -m sandbox --port 0 & echo $!; sleep 60'
    shell = subprocess.Popen(
        ["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert shell.stdout is not None
    with shell.stdout as output:
        child = int(output.readline())
        assert READY.match(output.readline())
        shell.kill()
        shell.wait()
        deadline = time.monotonic() + 10
        while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
    assert not is_alive(child)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def refused(*options: str) -> str:
    ended = subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, timeout=20, check=False
    )
    assert ended.returncode != 0
    assert ended.stdout == ""
    return ended.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "::", "example.com"])
def test_a_host_that_others_reach_is_refused(host: str) -> None:
    assert "is not a loopback address" in refused("--host", host)


@pytest.mark.parametrize(
    "options",
    [
        ("--failure-rate", "2"),
        ("--batch-seconds", "-1"),
        ("--token-rate", "nan"),
        ("--batch-seconds", "soon"),
        ("--port", "65536"),
        ("--fault", "create"),
        ("--fault", "create:flood"),
        ("--fault", "{"),
        ("--what",),
    ],
)
def test_bad_options_are_refused(options: tuple[str, ...]) -> None:
    assert "usage: python -m sandbox" in refused(*options)


def test_a_directory_and_a_port_in_use_are_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with started(tmp_path, "--data", str(data)) as (api, _):
        assert "in use by another sandbox" in refused("--data", str(data))
        port = str(api.http.base_url.port)
        assert f"cannot listen on 127.0.0.1:{port}" in refused("--port", port)


def test_a_directory_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    said = refused("--data", str(file))
    assert said == f"cannot write to {file}: File exists; choose another --data\n"


def test_only_verbose_writes_requests_and_never_keys_or_prompts(tmp_path: Path) -> None:
    with started(tmp_path, "--verbose") as (api, _):
        api.ask("a secret question", max_tokens=5)
    log = (tmp_path / "log").read_text()
    assert "POST /v1/messages" in log
    assert KEY not in log
    assert "secret" not in log
