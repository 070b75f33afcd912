import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.browser import LISTENING
from tests.processes import ROOT, running, wait_for_line
from tests.serving.wire import Wire

ANY = re.compile("Listening on (.+)")
MANAGE = [sys.executable, "manage.py"]


@dataclass
class Served:
    process: subprocess.Popen
    log: Path

    @property
    def port(self) -> int:
        return int(wait_for_line(self.process, self.log, LISTENING)[1].partition(":")[2])

    @property
    def output(self) -> str:
        return self.log.read_text()


@contextmanager
def started(
    directory: Path, *options: str, pass_fds: Sequence[int] = (), **changes: str
) -> Iterator[Served]:
    log, environment = directory / "log", os.environ | changes
    command = [*MANAGE, *options]
    with running(*command, log=log, environment=environment, pass_fds=pass_fds) as process:
        yield Served(process, log)


def refused(*options: str) -> str:
    done = subprocess.run([*MANAGE, "serve", *options], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode != 0
    return done.stderr


def address_seen(connection: socket.socket) -> str:
    client = HTTPConnection("localhost")
    client.sock = connection
    client.request("GET", "/address")
    with client.getresponse() as response:
        answer = response.read()
    client.close()
    return answer.decode()


def test_it_serves_the_pages_and_says_where(db, tmp_path):
    with started(tmp_path, "serve", "--port", "0") as served, Wire(served.port) as wire:
        reply = wire.get("/health")
        assert (reply.status, reply.body) == (200, b"ok")
        assert "server" not in reply.headers
        assert wire.get("/accounts/login/").status == 200
        served.process.terminate()
        assert served.process.wait(10) == 0
        lines = served.output.splitlines()
    assert len(lines) == 1
    assert lines[0].endswith(f"Listening on TCP address 127.0.0.1:{wire.port}")


def test_it_logs_requests_when_asked_and_not_what_people_typed(db, tmp_path):
    options = ["serve", "--host", "localhost", "--port", "0", "--access-log"]
    with started(tmp_path, *options) as served, Wire(served.port) as wire:
        assert wire.get("/health?q=my-question").status == 200
        wait_for_line(served.process, served.log, re.compile(r"GET /health 200 \d+ ms"))
        assert "my-question" not in served.output


def test_it_listens_on_sockets_of_every_kind(tmp_path):
    # The path of a socket has to be short.
    paths = [Path(f"/tmp/sluice-{os.getpid()}-{number}:x") for number in (1, 2)]
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as opened:
        options = [f"--unix-socket={path}" for path in paths]
        options.append(f"--fd={opened.fileno()}")
        changes = {"DJANGO_SETTINGS_MODULE": "tests.serving.streams_settings"}
        descriptors = [opened.fileno()]
        with started(tmp_path, "serve", *options, pass_fds=descriptors, **changes) as served:
            for path in paths:
                wait_for_line(served.process, served.log, re.compile(f"UNIX socket {path}"))
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(str(path))
                    assert address_seen(connection) == "127.0.0.1"
            with socket.create_connection(opened.getsockname()[:2]) as connection:
                assert address_seen(connection) == "::1"
            assert len(ANY.findall(served.output)) == 3
    assert not any(path.exists() for path in paths)


def test_a_taken_address_is_told_in_a_line():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        said = refused("--port", str(port))
    assert f"Couldn't listen on 127.0.0.1:{port}" in said
    assert "Address already in use" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--port", "70000"], "invalid port value"),
        (["--fd", "0"], "Socket operation on non-socket"),
        (["--unix-socket", "/no/such/place/socket"], "No such file or directory"),
    ],
)
def test_what_cannot_be_listened_on_is_refused(options, reason):
    said = refused(*options)
    assert reason in said
    assert "Traceback" not in said


def test_another_daphne_runs_as_it_is_with_a_warning(db, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import daphne\ndaphne.__version__ = '4.3.0'\n")
    options = ["serve", "--port", "0"]
    with started(tmp_path, *options, PYTHONPATH=str(tmp_path)) as served, Wire(served.port) as wire:
        assert wire.get("/health").body == b"ok"
        warnings = [line for line in served.output.splitlines() if " WARNING " in line]
    assert len(warnings) == 1
    assert "daphne 4.3.0 is installed, and the limits of Sluice fit 4.2 only" in warnings[0]


def test_runserver_has_the_same_limits(db, tmp_path):
    options = ["runserver", "0", "--noreload", "--skip-checks"]
    with started(tmp_path, *options, DEBUG="true") as served, Wire(served.port) as wire:
        assert wire.get("/static/sluice.css").headers["content-type"].startswith("text/css")
        wire.ask("POST /", Content_Length=17 * 2**20)
        assert wire.reply().status == 413


def test_no_other_command_loads_the_server():
    look = (
        "import django, sys; django.setup(); "
        "from django.core.management import call_command; call_command('check'); "
        "found = [name for name in sys.modules if name.split('.')[0] in ('twisted', 'daphne')]; "
        "sys.exit(repr(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr.splitlines()[-1:]) == (0, [])
