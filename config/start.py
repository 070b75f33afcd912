"""`make run`: web, workers and sandbox on this machine, in one terminal."""

import argparse
import fcntl
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO

from django.core.exceptions import ImproperlyConfigured

from config.programs import Logs, Programs

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 30
DEMO = "demo"
DEMO_KEY = "sk-ant-demo-local"


class Refusal(Exception):
    """Sluice cannot start here and now; the message says why and what to do."""


def main() -> int:
    options = read_options()
    try:
        data = prepare_settings()
        with only_one(data / "start.lock") as lock:
            return start(options, data, lock)
    except (Refusal, ImproperlyConfigured) as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.")
        return 130


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m config.start", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="of the pages; 0 takes a free one")
    parser.add_argument("--sandbox-port", type=int, default=8765, help="0 takes a free one")
    parser.add_argument("--procfile", type=Path, default=ROOT / "Procfile")
    return parser.parse_args()


def prepare_settings() -> Path:
    """Load the settings of a start on this machine, without TLS; gives the data directory."""
    os.environ |= {"SLUICE_DEMO": "true", "SLUICE_HTTPS": "false"}
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from config import settings

    return settings.DATA_DIR


@contextmanager
def only_one(path: Path) -> Iterator[IO[str]]:
    """Hold the lock of this data directory; the file holds the address, once there is one."""
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            where = lock.read().strip() or "another terminal, just starting or stopping"
            raise Refusal(f"Sluice is already running at {where}") from None
        lock.truncate(0)
        yield lock


def start(options: argparse.Namespace, data: Path, lock: IO[str]) -> int:
    port = free_port(options.port)
    sandbox_port = free_port(options.sandbox_port, besides=port)
    sandbox_url = f"http://127.0.0.1:{sandbox_port}"
    remember_sandbox(ROOT / ".env", sandbox_url)
    sign_in = prepare_database()
    environment = {
        **program_environment(data),
        "SANDBOX_URL": sandbox_url,
        "PORT": str(port),
        "SANDBOX_PORT": str(sandbox_port),
    }
    programs = Programs(options.procfile.resolve(), environment, logs := Logs(data / "log"))
    address = f"http://127.0.0.1:{port}"
    ready = {
        "sandbox": lambda: answers(sandbox_port, "/_sandbox/health"),
        "workers": lambda: all(logs.hold(name, "worker ready") for name in programs.workers),
        "web": lambda: answers(port, "/health"),
    }
    announcing = threading.Thread(
        target=announce, args=(programs, ready, lock, address, sign_in), daemon=True
    )
    announcing.start()
    programs.loop()
    announcing.join()
    logs.close()
    return farewell(programs, logs, data)


def program_environment(data: Path) -> dict[str, str]:
    """What every program gets: our settings, this Python, and output that is not held back."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
        "SLUICE_DATA_DIR": str(data),
    }


def free_port(wanted: int, besides: int = 0) -> int:
    """The port itself, else the next free one, said so."""
    for port in [0] if wanted == 0 else range(wanted, min(wanted + 100, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found = int(probe.getsockname()[1])
        if found != besides:
            if wanted not in (0, found):
                print(f"port {wanted} is taken, so {found} is used", flush=True)
            return found
    raise Refusal(f"No port from {wanted} on is free: choose another one.")


def remember_sandbox(path: Path, url: str) -> None:
    """Let every shell reach this sandbox: set SANDBOX_URL in .env and touch no other line."""
    lines = path.read_text().splitlines() if path.exists() else []
    others = [line for line in lines if line.partition("=")[0].strip() != "SANDBOX_URL"]
    wanted = f"SANDBOX_URL={url}"
    if [line for line in lines if line not in others] == [wanted]:
        return
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    fresh = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write("\n".join([*others, wanted, ""]))
    fresh.replace(path)


def prepare_database() -> str:
    """Migrate, and on the first start make the demonstration; gives how to sign in."""
    import django
    from django.core.management import call_command
    from django.db import connections

    with step("migrations"):
        django.setup()
        refuse_second_host()
        call_command("migrate", verbosity=0)
    sign_in = prepare_demonstration()
    # The programs are forked from here and must not share a connection.
    connections.close_all()
    return sign_in


def refuse_second_host() -> None:
    from django.core.checks import Tags, run_checks

    for error in run_checks(tags=[Tags.database], databases=["default"]):
        raise Refusal(f"{error.msg} {error.hint or ''}".rstrip())


def prepare_demonstration() -> str:
    from django.contrib.auth import get_user_model

    users = get_user_model().objects
    if not users.exists():
        with step("workspace Demo"):
            create_demonstration()
    user = users.filter(username=DEMO, is_active=True).first()
    known = user is not None and user.check_password(DEMO)
    return f"   user {DEMO}, password {DEMO}" if known else ""


def create_demonstration() -> None:
    """Someone to sign in as, and a workspace whose key is the sandbox's."""
    from django.contrib.auth import get_user_model
    from django.db import transaction

    from workspaces.keys import save_key
    from workspaces.models import ApiKey, Membership, Workspace
    from workspaces.people import create_workspace, set_role

    with transaction.atomic():
        user = get_user_model().objects.create_user(DEMO, password=DEMO)
        workspace = Workspace.objects.filter(slug=DEMO).first() or create_workspace("Demo", DEMO)
        set_role(workspace, user, Membership.Role.OWNER)
        if workspace.live_key() is None:
            save_key(workspace, ApiKey.Api.SANDBOX, DEMO_KEY, actor=user)


@contextmanager
def step(name: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    print(f"{name} ✓ {time.monotonic() - begun:.1f} s", flush=True)


def announce(
    programs: Programs,
    ready: dict[str, Callable[[], bool]],
    lock: IO[str],
    address: str,
    sign_in: str,
) -> None:
    """Say what is ready as it gets ready, then where to go; runs beside the loop."""
    begun = time.monotonic()
    programs.wait_until_started()
    for name, is_ready in ready.items():
        if not wait_for(programs, name, is_ready):
            return
        print(f"{name} ready ✓ {time.monotonic() - begun:.1f} s", flush=True)
    lock.write(address)
    lock.flush()
    print(f"Sluice: {address}{sign_in}", flush=True)


def wait_for(programs: Programs, name: str, is_ready: Callable[[], bool]) -> bool:
    """True once it is ready, False when all are being stopped."""
    deadline = time.monotonic() + PATIENCE
    while not programs.stopping:
        if is_ready():
            return True
        if time.monotonic() > deadline:
            deadline += PATIENCE
            where = os.path.relpath(programs.logs.directory)
            print(f"still waiting for {name}; the logs are in {where}/", flush=True)
        time.sleep(0.1)
    return False


def answers(port: int, path: str) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def farewell(programs: Programs, logs: Logs, data: Path) -> int:
    """Say how it ended; the last line is the reason."""
    where = os.path.relpath(data)
    if programs.ended is None:
        print(f"Stopped. Data is in {where}/.")
        return 0
    name, code = programs.ended
    for line in logs.last_lines(name):
        print(f"  {line}", file=sys.stderr)
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    print(
        f"{name} ended ({how}), so everything is stopped. Its log: {where}/log/{name}.log",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
