"""A create and its results in memory that does not grow with them."""

from collections.abc import Iterator
from pathlib import Path

from tests.processes import READY, running, wait_for_line
from tests.sandbox.api import Api, path
from tests.sandbox.test_process import COMMAND

REQUESTS = 10_000
PROMPT = "Say something about the harbour. " * 120
GROWTH = 24 << 20


def blocks() -> Iterator[bytes]:
    """About 40 MB."""
    one = '{"custom_id":"r%d","params":{"model":"claude-haiku-4-5","max_tokens":20,"messages":'
    one += '[{"role":"user","content":"' + PROMPT + '"}]}}'
    yield b'{"requests":['
    for start in range(0, REQUESTS, 500):
        lines = [one % number for number in range(start, start + 500)]
        yield (("," if start else "") + ",".join(lines)).encode()
    yield b"]}"


def peak(pid: int) -> int:
    """The most memory that the process ever held, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def test_it_works(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(*COMMAND, "--batch-seconds", "0", log=log) as process:
        api = Api(wait_for_line(process, log, READY)[1], "sk-ant-memory-1")
        with api.http:
            api.finish()
            before = peak(process.pid)
            reply = api.post("/v1/messages/batches", content=blocks())
            assert reply.status_code == 200, reply.text
            with api.http.stream("GET", f"{path(reply.json())}/results") as results:
                lines = sum(part.count(b"\n") for part in results.iter_raw())
        assert lines == REQUESTS
        assert peak(process.pid) - before < GROWTH
