"""`python -m sandbox`: options, the ready line, and a clean end."""

import argparse
import asyncio
import contextlib
import fcntl
import ipaddress
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web

from sandbox.errors import ApiError
from sandbox.faults.base import Fault
from sandbox.faults.table import read_fault
from sandbox.scopes import MOST, Scopes, Settings
from sandbox.server import application

PARENT = "SLUICE_PARENT"
LOCK = ".lock"  # no scope can have this name
PARENT_LOOK = 0.5
HIGHEST_PORT = 65535
SHUTDOWN_SECONDS = 0.5


def main() -> None:
    options = _options()
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING,
        format="%(asctime)s %(message)s",
        stream=sys.stderr,
    )
    settings = Settings(options.batch_seconds, options.token_rate, options.failure_rate)
    with _data_directory(options.data) as directory:
        scopes = Scopes(directory, settings, faults=options.fault)
        asyncio.run(serve(options.host, options.port, scopes, _parent()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox", description="A local stand-in for the Claude API."
    )
    parser.add_argument("--host", type=_loopback, default="127.0.0.1")
    parser.add_argument("--port", type=_port, default=8765, help="0 picks a free one")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="keeps state here; else it ends with the process"
    )
    parser.add_argument(
        "--batch-seconds", type=_positive, default=3.0, help="how long batches take, about"
    )
    parser.add_argument(
        "--token-rate", type=_positive, default=80.0, help="tokens per second of a stream; 0: all"
    )
    parser.add_argument(
        "--failure-rate", type=_share, default=0.0, help="share of batch requests that go wrong"
    )
    parser.add_argument(
        "--fault",
        type=_fault,
        action="append",
        default=[],
        metavar="ON:KIND[,NAME=VALUE...]",
        help="misbehaves, in every scope, as docs/sandbox.md lists; JSON is understood, too",
    )
    parser.add_argument("--verbose", action="store_true", help="one line on stderr per request")
    return parser.parse_args()


def _loopback(host: str) -> str:
    with contextlib.suppress(ValueError):
        if host == "localhost" or ipaddress.ip_address(host).is_loopback:
            return host
    raise argparse.ArgumentTypeError(
        f"{host} is not a loopback address; the sandbox takes any key, so it serves this machine"
        " only: use 127.0.0.1"
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is not a port from 0 to {HIGHEST_PORT}")
    return int(text)


def _fault(text: str) -> Fault:
    try:
        return read_fault(text)
    except ApiError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.message}") from None


def _positive(text: str) -> float:
    number = _number(text)
    if not 0 <= number <= MOST:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to {MOST:,.0f}")
    return number


def _share(text: str) -> float:
    number = _number(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share between 0 and 1")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a number") from None


@contextlib.contextmanager
def _data_directory(wanted: Path | None) -> Iterator[Path]:
    if wanted is None:
        with tempfile.TemporaryDirectory(prefix="sandbox-") as name:
            yield Path(name)
        return
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        lock = (wanted / LOCK).open("w")
    except OSError as error:
        sys.exit(f"cannot write to {wanted}: {error.strerror}; choose another --data")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(f"{wanted} is in use by another sandbox: stop it or choose another --data")
        yield wanted


def _parent() -> int | None:
    """Whoever starts a sandbox and names itself in SLUICE_PARENT leaves no orphan behind."""
    text = os.environ.get(PARENT)
    if not text:
        return None
    if not text.isdecimal():
        sys.exit(f"{PARENT} is {text!r}, not the id of a process: unset it")
    return int(text)


async def serve(host: str, port: int, scopes: Scopes, parent: int | None = None) -> None:
    """Serves until a signal comes or the parent is gone; open streams are cut then."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        application(scopes),
        access_log=logging.getLogger("sandbox.access"),
        access_log_format='%{request-id}o "%r" %s %b %Tf',
        shutdown_timeout=SHUTDOWN_SECONDS,
        auto_decompress=False,
    )
    await runner.setup()
    try:
        await _listen(runner, host, port)
        if parent is None:
            await stop.wait()
        else:
            await _watch_parent(parent, stop)
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        sys.exit(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port")
    address = f"[{host}]" if ":" in host else host
    print(f"sandbox ready on http://{address}:{runner.addresses[0][1]}", flush=True)


async def _watch_parent(parent: int, stop: asyncio.Event) -> None:
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), PARENT_LOOK)
        if os.getppid() != parent:
            stop.set()


if __name__ == "__main__":
    main()
