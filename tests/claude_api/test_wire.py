"""What a break at each point of an exchange is taken for, over real sockets."""

import contextlib
import json
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from claude_api import (
    ApiError,
    CertificateRefused,
    ClaudeError,
    Client,
    NotSent,
    OutcomeUnknown,
    TooLarge,
)

BATCH = {
    "id": "msgbatch_01Abc",
    "type": "message_batch",
    "processing_status": "in_progress",
    "request_counts": {"processing": 1},
    "created_at": "2026-11-20T10:00:00.570697+00:00",
    "expires_at": "2026-11-21T10:00:00.570697+00:00",
}
BODY = [b'{"requests":[', b"x" * 1000, b"]}"]
LENGTH = sum(map(len, BODY))
LARGE = 8 * 2**20


def answer(content: bytes, *, status="200 OK", length: int | None = None) -> bytes:
    declared = len(content) if length is None else length
    return f"HTTP/1.1 {status}\r\ncontent-length: {declared}\r\n\r\n".encode() + content


Behaviour = Callable[[socket.socket], None]


class Wire:
    """A server made of bare sockets: each connection is handed to `behave`, in one thread."""

    def __init__(self, behave: Behaviour) -> None:
        self._behave = behave
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.connections = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection, contextlib.suppress(ConnectionError):
                connection.settimeout(10)
                self._behave(connection)

    def close(self) -> None:
        # close() alone does not wake a thread that waits in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def serve() -> Iterator[Callable[[Behaviour], Wire]]:
    wires: list[Wire] = []

    def start(behave: Behaviour) -> Wire:
        wires.append(Wire(behave))
        return wires[-1]

    yield start
    for wire in wires:
        wire.close()


def reset(connection: socket.socket) -> None:
    """Close with RST, as a peer does whose process died."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_request(connection: socket.socket) -> bytes:
    """Read one request with its whole body."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def make_client(url: str, **options) -> Client:
    return Client(url, "sk-ant-key", connect_timeout=2, read_timeout=2, **options)


def break_of(url: str, body=BODY, length=LENGTH) -> Exception:
    with make_client(url) as client, pytest.raises((ClaudeError, OSError)) as caught:
        client.create_batch(iter(body), length)
    return caught.value


def test_it_works(serve):
    received = []

    def behave(connection):
        received.append(read_request(connection))
        connection.sendall(answer(json.dumps(BATCH).encode()))

    with make_client(serve(behave).url) as client:
        batch, _ = client.create_batch(iter(BODY), LENGTH)
    assert batch.id == "msgbatch_01Abc"
    assert received[0].endswith(b"".join(BODY))
    assert b"transfer-encoding" not in received[0].lower()


def test_connection_refused_is_not_sent():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = break_of(f"http://127.0.0.1:{port}")
    assert isinstance(error, NotSent)
    assert str(error).startswith("Nothing was sent to 127.0.0.1: ")


def test_unknown_host_is_not_sent():
    assert isinstance(break_of("http://no-such-host.invalid"), NotSent)


def test_tls_handshake_that_fails_is_not_sent(serve):
    wire = serve(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    error = break_of(wire.url.replace("http:", "https:"))
    assert isinstance(error, NotSent)
    assert not isinstance(error, CertificateRefused)


def test_untrusted_certificate_is_refused(serve, tmp_path):
    context = make_self_signed(tmp_path)

    def behave(connection):
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(connection, server_side=True).recv(1)

    error = break_of(serve(behave).url.replace("http:", "https:"))
    assert isinstance(error, CertificateRefused)
    assert "certificate of 127.0.0.1" in str(error)


def make_self_signed(folder: Path) -> ssl.SSLContext:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.mark.parametrize("wanted", [1, 200, LARGE // 2])
def test_reset_before_the_end_of_the_body_is_unknown(serve, wanted):
    def behave(connection):
        left = wanted
        while left > 0:
            left -= len(connection.recv(min(left, 65536)))
        reset(connection)

    error = break_of(serve(behave).url, [b"x" * 2**16] * (LARGE // 2**16), LARGE)
    assert isinstance(error, OutcomeUnknown)
    assert not error.answered


@pytest.mark.parametrize("close", [reset, socket.socket.close])
def test_break_after_the_body_is_unknown(serve, close):
    def behave(connection):
        read_request(connection)
        close(connection)

    error = break_of(serve(behave).url)
    assert isinstance(error, OutcomeUnknown)
    assert not error.answered


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 400 Bad Request\r\ncontent-length: 50\r\n\r\n{",
    ],
)
def test_cut_before_the_answer_is_known_is_unknown(serve, cut):
    def behave(connection):
        read_request(connection)
        connection.sendall(cut)

    error = break_of(serve(behave).url)
    assert isinstance(error, OutcomeUnknown)
    assert not error.answered


@pytest.mark.parametrize(
    "reply",
    [
        answer(json.dumps(BATCH).encode(), length=5000),
        answer(b'{"id":"msgbatch_01Abc","type":'),
        answer(b"<html>Sign in to the network</html>"),
        b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"id"\r\n',
    ],
    ids=["short", "cut", "html", "chunk"],
)
def test_broken_200_is_unknown_but_answered(serve, reply):
    def behave(connection):
        read_request(connection)
        connection.sendall(reply)

    error = break_of(serve(behave).url)
    assert isinstance(error, OutcomeUnknown)
    assert error.answered


def test_silence_after_the_body_is_unknown(serve):
    def behave(connection):
        read_request(connection)
        connection.recv(1)

    with make_client(serve(behave).url) as client, pytest.raises(OutcomeUnknown) as caught:
        client.create_batch(iter(BODY), LENGTH, read_timeout=0.2)
    assert "no byte came within the time limit" in str(caught.value)


def test_early_413_is_read_while_the_body_is_on_its_way(serve):
    refusal = b'{"error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}'

    def behave(connection):
        connection.recv(65536)
        connection.sendall(answer(refusal, status="413 Payload Too Large"))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    error = break_of(serve(behave).url, [b"x" * 2**16] * (LARGE // 2**16), LARGE)
    assert isinstance(error, TooLarge)
    assert error.shaped
    assert error.is_refusal


def end_of_body():
    yield BODY[0]
    raise OSError("disk gone")


def late_end_of_body():
    yield from BODY
    raise OSError("disk gone")


@pytest.mark.parametrize(
    ("body", "length", "sentence"),
    [
        (end_of_body, LENGTH, "disk gone"),
        (late_end_of_body, LENGTH, "disk gone"),
        (lambda: iter(BODY), LENGTH + 1, "The body has 1,015 bytes of the 1,016 declared."),
        (lambda: iter(BODY), LENGTH - 1, "The body has more than the 1,014 bytes declared."),
        (lambda: iter([*BODY, b" "]), LENGTH, "The body has more than the 1,015 bytes declared."),
    ],
)
def test_a_body_that_fails_never_arrives_whole(serve, body, length, sentence):
    received = []

    def behave(connection):
        while part := connection.recv(65536):
            received.append(part)

    wire = serve(behave)
    with make_client(wire.url) as client, pytest.raises((OSError, ValueError)) as caught:
        client.create_batch(body(), length)
    wire.close()
    assert str(caught.value) == sentence
    assert len(b"".join(received).partition(b"\r\n\r\n")[2]) < length


def test_the_last_chunk_is_asked_for_when_the_others_are_gone(serve):
    at_end = threading.Event()

    def behave(connection):
        connection.settimeout(5)
        received = b""
        while b"\r\n\r\nfirst" not in received:
            received += connection.recv(65536)
        at_end.set()
        connection.recv(65536)
        connection.sendall(answer(json.dumps(BATCH).encode()))

    def body():
        yield b"first"
        assert at_end.wait(5)
        yield b"last"

    with make_client(serve(behave).url) as client:
        assert client.create_batch(body(), 9)[0].id == "msgbatch_01Abc"


def test_each_create_has_a_connection_of_its_own(serve):
    def behave(connection):
        read_request(connection)
        connection.sendall(answer(json.dumps(BATCH).encode()))
        connection.settimeout(2)
        assert connection.recv(1) == b""

    wire = serve(behave)
    with make_client(wire.url) as client:
        for _ in range(2):
            client.create_batch(iter(BODY), LENGTH)
    assert wire.connections == 2


def test_reads_share_a_connection(serve):
    def behave(connection):
        for _ in range(2):
            read_request(connection)
            connection.sendall(answer(json.dumps(BATCH).encode()))

    wire = serve(behave)
    with make_client(wire.url) as client:
        for _ in range(2):
            client.retrieve_batch("msgbatch_01Abc")
    assert wire.connections == 1


def test_trickling_reply_is_given_up(serve):
    def behave(connection):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        connection.settimeout(0.1)
        for _ in range(50):
            connection.sendall(b" ")
            try:
                if connection.recv(1) == b"":
                    return
            except TimeoutError:
                continue

    url = serve(behave).url
    client = Client(url, "sk-ant-key", read_timeout=0.4)
    with client, pytest.raises(OutcomeUnknown, match="too slowly"):
        client.retrieve_batch("msgbatch_01Abc")


def test_results_that_come_slowly_on_the_whole_are_given_up(serve):
    """Each chunk in time, and yet no end within the day."""
    reached = []

    def behave(connection):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        for number in range(100):
            connection.sendall(b" " * 2**18)
            reached.append(number)
            time.sleep(0.05)

    url = serve(behave).url
    client = Client(url, "sk-ant-key", read_timeout=0.4, slowest=20 * 2**20)
    with client, pytest.raises(OutcomeUnknown) as caught, client.download_results("b") as chunks:
        list(chunks)
    assert "too slowly" in str(caught.value)
    assert 4 < len(reached) < 30


def test_results_come_whole_in_large_chunks(serve):
    content = b'{"custom_id":"1_a"}\n' * 100_000

    def behave(connection):
        read_request(connection)
        connection.sendall(answer(content))

    with make_client(serve(behave).url) as client, client.download_results("b") as chunks:
        received = list(chunks)
    assert b"".join(received) == content
    assert all(len(chunk) >= 64 * 1024 for chunk in received[:-1])


@pytest.mark.parametrize("close", [reset, socket.socket.close])
def test_results_that_break_off_are_unknown(serve, close):
    def behave(connection):
        read_request(connection)
        connection.sendall(answer(b'{"custom_id":"1_a"}\n' * 50_000, length=2_000_000))
        close(connection)

    with (
        make_client(serve(behave).url) as client,
        client.download_results("b") as chunks,
        pytest.raises(OutcomeUnknown),
    ):
        list(chunks)


def test_what_came_before_results_broke_off_is_given(serve):
    def behave(connection):
        read_request(connection)
        connection.sendall(answer(b'{"custom_id":"1_a"}\n', length=2_000_000))
        connection.close()

    received = []
    with (
        make_client(serve(behave).url) as client,
        client.download_results("b") as chunks,
        pytest.raises(OutcomeUnknown),
    ):
        received.extend(chunks)
    assert received == [b'{"custom_id":"1_a"}\n']


def test_results_of_no_declared_length_may_be_short_without_an_error(serve):
    def behave(connection):
        read_request(connection)
        connection.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"custom_id":"1_a"}\n')

    with make_client(serve(behave).url) as client, client.download_results("b") as chunks:
        assert list(chunks) == [b'{"custom_id":"1_a"}\n']


def test_leaving_a_download_closes_its_connection(serve):
    ends = []

    def behave(connection):
        read_request(connection)
        connection.sendall(answer(b"x" * 300_000, length=10**9))
        try:
            ends.append(connection.recv(1))
        except ConnectionError:
            ends.append(b"")

    wire = serve(behave)
    with make_client(wire.url) as client, client.download_results("b") as chunks:
        next(chunks)
    wire.close()
    assert ends == [b""]


def test_gateway_page_is_no_refusal(serve):
    def behave(connection):
        read_request(connection)
        connection.sendall(answer(b"<h1>Forbidden</h1>", status="403 Forbidden"))

    error = break_of(serve(behave).url)
    assert type(error) is ApiError
    assert not error.shaped
    assert not error.is_refusal
