"""A results file that is cut anywhere, in any kind of body, is never believed to be whole."""

import gzip
import socketserver
import threading
from collections.abc import Iterator
from io import BytesIO

import pytest

from batches import collecting
from batches.models import MessageBatch
from batches.proof import Proof
from claude_api import Client, OutcomeUnknown
from tests.batches.ended import check_index, collect, make_ended
from tests.batches.stage import make_batch, result_lines, rows_of
from tests.scripted_api import Reply

ROWS = range(2, 5_002)
POSITIONS = {row: position for position, row in enumerate(ROWS)}
KINDS = ("declared", "chunked", "gzip", "closed")
LINES = [b'{"custom_id":"%d_abcdefgh","result":{"type":"expired"}}\n' % row for row in ROWS]
WHOLE = b"".join(LINES)


def offsets() -> list[int]:
    """1,000 of them: all over the file, denser at its beginning, and around line ends."""
    found = {int((number / 650) ** 2 * (len(WHOLE) - 2)) for number in range(650)}
    for number in range(110):
        line = LINES[int((number / 110) ** 2 * len(LINES))]
        end = WHOLE.index(line) + len(line)
        # Before the newline, after it, and one byte into the next line.
        found |= {end - 2, end - 1, end, end + 1}
    last = len(WHOLE) - len(LINES[-1])
    found |= {last - 1, last, last + 1, len(WHOLE) - 2}
    return sorted(offset for offset in found if offset < len(WHOLE) - 1)


class Cutter(socketserver.ThreadingTCPServer):
    """Serves the file cut at the offset and in the kind of body that the path names."""

    allow_reuse_address = True
    daemon_threads = True


class Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        kind, offset = self.rfile.readline().split()[1].decode().split("/")[4].split("_")
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        cut = int(offset)
        if kind == "declared":
            self.wfile.write(b"content-length: %d\r\n\r\n" % len(WHOLE) + WHOLE[:cut])
        elif kind == "chunked":
            chunk = b"%x\r\n" % len(WHOLE) + WHOLE[:cut] if cut % 2 else chunks_of(WHOLE[:cut])
            self.wfile.write(b"transfer-encoding: chunked\r\n\r\n" + chunk)
        elif kind == "gzip":
            body = PACKED[: cut * len(PACKED) // len(WHOLE)]
            self.wfile.write(b"content-encoding: gzip\r\nconnection: close\r\n\r\n" + body)
        else:
            self.wfile.write(b"connection: close\r\n\r\n" + WHOLE[:cut])


def chunks_of(data: bytes) -> bytes:
    """Whole chunks, without the last and empty one that says that there are no more."""
    file, framed = BytesIO(data), b""
    while piece := file.read(65_536):
        framed += b"%x\r\n%s\r\n" % (len(piece), piece)
    return framed


PACKED = gzip.compress(WHOLE, 1)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with Cutter(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def download(client: Client, name: str) -> tuple[Proof, str]:
    """What is proven of one download, and what broke it."""
    part = MessageBatch(nonce="abcdefgh", part=1, expired=len(ROWS))
    proof = Proof(part, POSITIONS)
    try:
        with client.download_results(name) as chunks:
            collecting.take_all(collecting.bounded(chunks, proof), proof, BytesIO())
    except OutcomeUnknown as error:
        return proof, str(error)
    return proof, ""


def test_the_whole_file_is_believed(address: str) -> None:
    with Client(address, "sk-ant-key") as client:
        proof, broken = download(client, f"closed_{len(WHOLE)}")
    assert (proof.objections(), broken) == ([], "")


def test_without_its_last_newline_the_file_is_whole(address: str) -> None:
    with Client(address, "sk-ant-key") as client:
        proof, broken = download(client, f"closed_{len(WHOLE) - 1}")
    assert (proof.objections(), broken) == ([], "")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_cut_is_never_believed(address: str, kind: str) -> None:
    cuts = offsets()
    assert len(cuts) >= 1_000
    with Client(address, "sk-ant-key") as client:
        for offset in cuts:
            proof, broken = download(client, f"{kind}_{offset}")
            assert proof.missing, offset
            assert f"{proof.missing:,} of 5,000 answers are missing" in proof.objections()
            # Only a body whose end nobody can tell from a break is short without an error.
            assert bool(broken) == (kind != "closed"), offset
            assert proof.missing == len(ROWS) if kind == "gzip" else len(proof.places) <= offset


CUTS = {
    "in the first line": 30,
    "at a line's end": None,
    "in the last line": -30,
    "before the last line": -1,
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.both_databases
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_a_part_whose_file_is_cut_is_stored_only_when_the_rest_is_here(api, workspace, cut) -> None:
    part = make_ended(make_batch(workspace), 40)
    lines = result_lines(part)
    whole = b"".join(lines)
    ends = {None: len(b"".join(lines[:20])), -1: len(whole) - len(lines[-1])}
    short = whole[: ends.get(cut, cut)]
    collect(part, Reply(short, bounded=False), api=api)
    assert part.state == "incomplete"
    assert check_index(part) == sorted(rows_of(part)[40 - short.count(b"\n") :])
    assert part.proof["missing"] == 40 - short.count(b"\n")
    collect(part, Reply(whole, length=len(whole) + 1), api=api, at=part.due_at)
    assert part.state == "incomplete"
    assert "the download broke off" in part.reason
    collect(part, Reply(whole), api=api, at=part.due_at)
    assert part.state == "stored"
    assert check_index(part) == rows_of(part)
