import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode

import pytest

from config.start import Refusal, free_port, only_one, remember_sandbox
from tests.conftest import ENVIRONMENT
from tests.processes import (
    ROOT,
    descendants,
    end,
    is_listening,
    running,
    wait_for_line,
    wait_until,
)

ADDRESS = re.compile(r"^Sluice: (http://127\.0\.0\.1:(\d+))   user demo, password demo\n\Z", re.M)
NOT_COPIED = (".*", "data", "docs", "node_modules", "__pycache__", "tests", "benchmarks")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as someone else has it, with an .env and a database of its own."""
    copy = tmp_path_factory.mktemp("clone") / "sluice"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
    return copy


@dataclass
class Start:
    process: subprocess.Popen
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text()

    def address(self) -> tuple[str, int]:
        found = wait_for_line(self.process, self.log, ADDRESS)
        return found[1], int(found[2])


@contextmanager
def started(project: Path, log: Path, *options: str) -> Iterator[Start]:
    mine = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    command = [sys.executable, "-m", "config.start", "--port", "0", "--sandbox-port", "0"]
    with running(*command, *options, log=log, environment=mine, cwd=project) as process:
        yield Start(process, log)


@pytest.fixture
def start(project: Path, tmp_path: Path) -> Callable[..., AbstractContextManager[Start]]:
    return partial(started, project, tmp_path / "output")


def sign_in(address: str) -> str:
    """The page that the demonstration's user sees after signing in."""
    browser = open_browser()
    with browser.open(f"{address}/accounts/login/") as page:
        login = page.read().decode()
    assert "Demo: user <code>demo</code>" in login
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', login)[1]
    form = {"login": "demo", "password": "demo", "csrfmiddlewaretoken": token}
    with browser.open(f"{address}/accounts/login/", urlencode(form).encode()) as page:
        assert page.url == f"{address}/w/demo/"
        return page.read().decode()


def open_browser() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(CookieJar())
    )


def shows_our_own_pages(address: str) -> None:
    """Also of what is not there; and what a page links to arrives."""
    browser = open_browser()
    with pytest.raises(HTTPError) as refused:
        browser.open(f"{address}/no/such/page/")
    with refused.value as answer:
        page = answer.read().decode()
    assert refused.value.code == 404
    assert "This page does not exist" in page
    assert "URLconf" not in page
    linked = re.findall(r'(?:href|src)="(/static/[^"]+\.(?:css|js))"', page)
    assert "/static/sluice.css" in linked
    for path in [*linked, "/static/page.js"]:
        with browser.open(f"{address}{path}") as file:
            assert file.headers["Cache-Control"] == "max-age=0, public"
            assert len(file.read()) > 100


def all_gone(pids: set[int]) -> bool:
    return not [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]


def test_it_works(start, project, tmp_path):
    with start() as first:
        address, port = first.address()
        assert "workspace Demo ✓" in first.output
        assert "Demo" in sign_in(address)
        shows_our_own_pages(address)
        with started(project, tmp_path / "second") as second:
            assert second.process.wait(20) == 1
        assert second.output == f"Sluice is already running at {address}\n"
        first.process.send_signal(signal.SIGINT)
        assert first.process.wait(40) == 0
    assert first.output.endswith("Stopped. Data is in data/.\n")
    assert not is_listening(port)
    with start() as again:
        assert "Demo" in sign_in(again.address()[0])
        assert "workspace Demo" not in again.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_program_outlives_its_start(start, number):
    with start() as sluice:
        _, port = sluice.address()
        children = descendants(sluice.process.pid)
        assert len(children) >= 8
        sluice.process.send_signal(number)
        sluice.process.wait(40)
        wait_until(lambda: all_gone(children), 15)
    assert not is_listening(port)


def test_it_stops_where_nobody_reads_what_it_says(project, tmp_path):
    procfile = tmp_path / "Procfile"
    procfile.write_text("web: exec sleep 60\n")
    command = [sys.executable, "-m", "config.start", "--port", "0", "--sandbox-port", "0"]
    mine = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    with subprocess.Popen(
        [*command, "--procfile", str(procfile)],
        cwd=project,
        env=mine,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_until(lambda: len(descendants(process.pid)) >= 2, 20)
        children = descendants(process.pid)
        process.stdout.close()
        try:
            assert end(process, 20) != 0
        finally:
            process.kill()
    wait_until(lambda: all_gone(children), 15)


def test_when_a_program_dies_all_stop_and_the_reason_comes_last(start, tmp_path):
    procfile = tmp_path / "Procfile"
    procfile.write_text("web: exec sleep 60\nworker1: echo no database here; exit 3\n")
    with start("--procfile", str(procfile)) as sluice:
        assert sluice.process.wait(20) == 1
    *_, reason, last = sluice.output.splitlines()
    assert reason == "  no database here"
    assert last.startswith("worker1 ended (exit code 3), so everything is stopped.")


def test_a_worker_finishes_its_step(start, tmp_path):
    """Longer than the five seconds that honcho gives by itself."""
    procfile, ready, finished = (tmp_path / name for name in ("Procfile", "ready", "finished"))
    step = f"trap 'sleep 5.5; touch {finished}; exit' TERM; touch {ready}; "
    procfile.write_text(f"web: exec sleep 60\nworker1: {step} while true; do sleep 0.1; done\n")
    with start("--procfile", str(procfile)) as sluice:
        wait_until(ready.exists)
        assert end(sluice.process, 20) == 0
    assert finished.exists()


def test_what_the_programs_say_is_kept_in_files(start, project, tmp_path):
    procfile = tmp_path / "Procfile"
    procfile.write_text("web: echo $PORT $SANDBOX_URL $SLUICE_DEMO\n")
    with start("--procfile", str(procfile)) as sluice:
        assert sluice.process.wait(20) == 1
    port, url, demo = (project / "data/log/web.log").read_text().split()
    assert int(port) > 0
    assert demo == "true"
    assert (project / ".env").read_text() == f"SANDBOX_URL={url}\n"


def test_a_taken_port_is_stepped_over(capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        found = free_port(taken)
    assert taken < found < taken + 100
    assert capsys.readouterr().out == f"port {taken} is taken, so {found} is used\n"


def test_two_programs_do_not_share_a_port():
    assert free_port(20_000, besides=free_port(20_000)) > free_port(20_000)


def test_the_lock_names_who_holds_it(tmp_path):
    with only_one(tmp_path / "lock") as lock:
        lock.write("http://127.0.0.1:1234")
        lock.flush()
        with pytest.raises(Refusal, match=r"already running at http://127\.0\.0\.1:1234"):
            only_one(tmp_path / "lock").__enter__()
    with only_one(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text() == ""


def test_the_persons_own_lines_in_env_stay(tmp_path):
    path = tmp_path / ".env"
    path.write_text("# mine\nSECRET_KEY=abc\nSANDBOX_URL=http://127.0.0.1:1\nDEBUG=false")
    path.chmod(0o640)
    remember_sandbox(path, "http://127.0.0.1:2")
    wanted = "# mine\nSECRET_KEY=abc\nDEBUG=false\nSANDBOX_URL=http://127.0.0.1:2\n"
    assert path.read_text() == wanted
    assert path.stat().st_mode & 0o777 == 0o640
    remember_sandbox(path, "http://127.0.0.1:2")
    assert path.read_text() == wanted


def test_a_new_env_is_for_its_owner_only(tmp_path):
    remember_sandbox(tmp_path / ".env", "http://127.0.0.1:2")
    assert (tmp_path / ".env").read_text() == "SANDBOX_URL=http://127.0.0.1:2\n"
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
