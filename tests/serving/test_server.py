"""A real server before real sockets; what it says and holds in memory is read from outside."""

import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.browser import LISTENING
from tests.processes import end, is_listening, running, wait_for_line, wait_until
from tests.serving.wire import ONE, Wire

MEGABYTE = 2**20
LIMIT = 16 * MEGABYTE
# What a server may take while hundreds of megabytes pass through it.
SMALL = 40 * MEGABYTE
FORM = {"Content_Type": "multipart/form-data; boundary=xyz"}
FORM_HEAD = b'--xyz\r\nContent-Disposition: form-data; name="f"; filename="a.csv"\r\n\r\n'


@dataclass
class Served:
    process: subprocess.Popen
    port: int
    log: Path

    def wire(self) -> Wire:
        return Wire(self.port)

    def get(self, path: str) -> str:
        with self.wire() as wire:
            return wire.get(path).body.decode()

    def said(self, text: str) -> int:
        return self.log.read_text().count(text)

    def wait_for(self, text: str, times: int = 1) -> None:
        wait_until(lambda: self.said(text) >= times)

    def answers(self) -> bool:
        return self.get("/unfinished").isdigit()

    def is_at_rest(self) -> bool:
        """No request is unfinished but this one."""
        return self.get("/unfinished") == "0"

    @contextmanager
    def stays_small(self) -> Iterator[None]:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        before = self.memory("VmRSS")
        yield
        assert self.memory("VmHWM") - before < SMALL

    def memory(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) * 1024


@contextmanager
def serving(directory: Path) -> Iterator[Served]:
    log = directory / "log"
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.serving.streams_settings",
        "SLUICE_DATA_DIR": str(directory),
    }
    command = [sys.executable, "manage.py", "serve", "--port", "0"]
    with running(*command, log=log, environment=environment) as process:
        port = int(wait_for_line(process, log, LISTENING)[1].partition(":")[2])
        yield Served(process, port, log)
        assert end(process) == 0, log.read_text()
        failures = re.findall(r"^\w*(?:Error|Exception)\b.*", log.read_text(), re.M)
        assert set(failures) <= {"RuntimeError: broken off"}, log.read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("server")) as served:
        served.get("/unfinished")
        yield served


@pytest.mark.parametrize("size", [0, 1, ONE, 5 * ONE + 1, LIMIT])
def test_a_body_arrives_whole(server, size):
    body = os.urandom(size)
    with server.wire() as wire:
        wire.ask("POST /digest", body, Content_Length=size)
        assert wire.reply().body.decode() == hashlib.sha256(body).hexdigest()


def test_a_body_of_unknown_length_arrives_whole(server):
    body = os.urandom(3 * MEGABYTE)
    with server.wire() as wire:
        wire.ask("POST /digest", Transfer_Encoding="chunked")
        for start in range(0, len(body), 100_000):
            piece = body[start : start + 100_000]
            wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        wire.send(b"0\r\n\r\n")
        assert wire.reply().body.decode() == hashlib.sha256(body).hexdigest()


def test_a_form_that_is_too_large_is_refused_before_it_arrives(server):
    with server.stays_small(), server.wire() as wire:
        wire.ask("POST /digest", Content_Length=256 * MEGABYTE, **FORM)
        reply = wire.reply()
        assert reply.status == 413
        assert "This was larger than 16 MB" in reply.body.decode()
        assert reply.headers["connection"] == "close"
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert wire.is_closed()
        wire.send(FORM_HEAD)
        for _ in range(255 * 16):
            wire.send(bytes(ONE))
        assert server.answers()


def test_one_of_unknown_length_is_refused_when_it_passes_the_limit(server):
    with server.stays_small(), server.wire() as wire:
        wire.ask("POST /digest", Transfer_Encoding="chunked", **FORM)
        wire.send(b"%x\r\n%b\r\n" % (len(FORM_HEAD), FORM_HEAD))
        for _ in range(256 * 16):
            wire.send(b"%x\r\n%b\r\n" % (ONE, bytes(ONE)))
        assert server.answers()
        assert wire.reply().status == 413
        wire.send(b"0\r\n\r\n")
        assert wire.is_closed()


def test_the_limit_is_exact(server):
    with server.wire() as wire:
        wire.ask("POST /digest", Content_Length=LIMIT + 1)
        assert wire.reply().status == 413


def test_who_asks_before_sending_is_told_at_once(server):
    with server.wire() as wire:
        wire.ask("POST /digest", Content_Length=LIMIT + 1, Expect="100-continue")
        assert wire.reply().status == 413
        assert wire.is_closed()
    with server.wire() as wire:
        wire.ask("POST /digest", Content_Length=3, Expect="100-continue")
        assert wire.head().status == 100
        wire.send(b"abc")
        assert wire.reply().body.decode() == hashlib.sha256(b"abc").hexdigest()


def test_a_stream_waits_for_its_reader(server):
    begun = server.said("poured on")
    with server.stays_small(), server.wire() as wire:
        wire.ask("GET /pour/3200")
        reply = wire.head()
        assert server.answers()
        assert server.said("poured on") - begun < 8
        assert sum(map(len, wire.pieces(reply))) == 3200 * ONE
        assert server.said("poured on") - begun == 32
        assert wire.get("/unfinished").status == 200


def test_a_client_that_leaves_ends_the_stream(server):
    ended = server.said("poured out")
    with server.wire() as wire:
        wire.ask("GET /pour/1000000")
        assert wire.head().status == 200
    server.wait_for("poured out", ended + 1)
    wait_until(server.is_at_rest)


def test_a_stream_that_breaks_does_not_look_whole(server):
    with server.wire() as wire:
        wire.ask("GET /break")
        reply = wire.head()
        with pytest.raises((ConnectionResetError, ValueError)):
            list(wire.pieces(reply))
    wait_until(server.is_at_rest)


@pytest.mark.parametrize("page", ["slow", "hang"])
def test_a_client_that_leaves_before_the_answer_leaves_nothing(server, page):
    with server.wire() as wire:
        wire.ask(f"GET /{page}")
        server.wait_for(f"{page} begins")
    wait_until(server.is_at_rest)


def test_a_client_that_leaves_within_its_body_leaves_nothing(server):
    with server.wire() as wire:
        wire.ask("POST /digest", Content_Length=1000)
        wire.send(b"only this")
    wait_until(server.is_at_rest)


def test_a_connection_goes_on_after_an_upload_and_answers_in_order(server):
    body = os.urandom(MEGABYTE)
    with server.wire() as wire:
        wire.ask("POST /digest", body)
        wire.ask("GET /pour/3")
        wire.ask("POST /digest", b"abc", **FORM)
        wire.ask("GET /unfinished")
        answers = [wire.reply().body for _ in range(4)]
    expected = [hashlib.sha256(text).hexdigest().encode() for text in (body, b"abc")]
    assert [answers[0], answers[2]] == expected
    assert len(answers[1]) == 3 * ONE


def test_a_head_is_only_a_head(server):
    with server.wire() as wire:
        wire.ask("HEAD /pour/20")
        assert wire.head().status == 200
        assert wire.get("/digest").status == 200


def test_a_websocket_that_is_not_read_waits(server):
    with server.stays_small(), server.wire() as wire:
        wire.open_websocket("/flood")
        assert wire.frame() == (2, bytes(range(256)) * 256)
        assert server.answers()
        assert server.said("flooded") < 8
        frames = [len(wire.frame()[1]) for _ in range(3199)]
        assert sum(frames) == 3199 * ONE
        assert wire.frame()[0] == 8
    server.wait_for("flooded 3200")


def test_a_websocket_that_floods_is_not_read_on(server):
    text = "x" * 60_000
    with server.stays_small(), server.wire() as wire:
        wire.open_websocket("/ignore")
        wire.socket.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            for _ in range(2000):
                wire.send_text(text)
            pytest.fail("the server took it all")


def test_a_websocket_says_back_what_it_hears(server):
    with server.wire() as wire:
        wire.open_websocket("/echo")
        for number in range(100):
            wire.send_text(f"{number:04}" * 50)
        assert [wire.frame()[1][:4] for _ in range(100)] == [b"%04d" % n for n in range(100)]
    server.wait_for("echo ended")


def test_sigterm_lets_requests_finish_and_closes_websockets(tmp_path):
    with serving(tmp_path) as served, served.wire() as slow, served.wire() as socket:
        socket.open_websocket("/echo")
        slow.ask("GET /slow")
        served.wait_for("slow begins")
        served.process.terminate()
        assert socket.frame() == (8, (1012).to_bytes(2, "big"))
        socket.send(b"\x88\x82\0\0\0\0" + (1012).to_bytes(2, "big"))
        assert slow.reply().body == b"slow is done"
        assert served.process.wait(10) == 0
    assert served.said("echo ended") == 1


@pytest.mark.parametrize("signals", [1, 2])
def test_what_does_not_end_is_ended(tmp_path, signals):
    """After a while, and without waiting at the second signal."""
    with serving(tmp_path) as served, served.wire() as wire:
        wire.ask("GET /hang")
        served.wait_for("hang begins")
        begun = time.monotonic()
        served.process.terminate()
        wait_until(lambda: not is_listening(served.port))
        if signals == 2:
            served.process.send_signal(signal.SIGINT)
        assert served.process.wait(20) == 0
        assert (time.monotonic() - begun < 2.5) == (signals == 2)
        assert wire.is_closed()
    assert served.said("Stopped without waiting for what still ran: 1") == 1
