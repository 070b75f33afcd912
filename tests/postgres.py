"""`python -m tests.postgres COMMAND ...` runs a command with a PostgreSQL of its own.

The cluster lives in a temporary directory, listens on a socket in it and ends with the command,
or with us, however that happens. SLUICE_TEST_DATABASE_URL names a database in it that does not
exist yet. Where PostgreSQL is not installed nothing is run: that is a failure where CI=true and a
sentence elsewhere.
"""

import os
import pwd
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "postgres"
OPTIONS = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c listen_addresses="
# Waits until nobody holds the other end of its input: then we have ended, or are no more.
KEEPER = 'read -r line; "$@"; rm -rf -- "$0"'


def programs() -> Path | None:
    """Where initdb and pg_ctl are: the newest version's directory, which is not on the PATH."""
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(found, key=lambda path: float(path.parts[-3]), default=None)
    return newest.parent if newest else None


@contextmanager
def cluster(binaries: Path) -> Iterator[str]:
    """The DATABASE_URL of a fresh cluster; PostgreSQL refuses root, which hands it to postgres."""
    directory = Path(tempfile.mkdtemp(prefix="sluice-postgres-"))
    if os.geteuid() == 0:
        account = pwd.getpwnam(USER)
        os.chown(directory, account.pw_uid, account.pw_gid)
    data, log = str(directory / "data"), str(directory / "log")
    with kept(directory, binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"):
        run(binaries / "initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"{OPTIONS} -k {directory}"
        run(binaries / "pg_ctl", "-D", data, "-w", "-l", log, "-o", options, "start")
        yield f"postgres://{USER}@/{directory}/sluice"


@contextmanager
def kept(directory: Path, *stop: str | Path) -> Iterator[None]:
    """Run `stop` and remove the directory at the end, which a process of its own watches for."""
    keeper = subprocess.Popen(
        ["sh", "-c", KEEPER, str(directory), *as_owner(*stop)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        # Ctrl-C is sent to all who belong to the terminal's group.
        start_new_session=True,
    )
    try:
        yield
    finally:
        keeper.communicate()


def run(*command: str | Path) -> None:
    done = subprocess.run(
        as_owner(*command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{Path(command[0]).name} failed:\n{done.stdout}")


def as_owner(*command: str | Path) -> list[str]:
    change = ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []
    return [*change, *map(str, command)]


def main(command: list[str]) -> int:
    binaries = programs()
    if binaries is None:
        sys.stdout.write("Not tested on PostgreSQL: install postgresql.\n")
        return 1 if os.environ.get("CI") == "true" else 0
    with cluster(binaries) as url:
        environment = {**os.environ, "SLUICE_TEST_DATABASE_URL": url}
        with subprocess.Popen(command, env=environment) as program:
            signal.signal(signal.SIGTERM, lambda number, frame: program.terminate())
            # Ctrl-C reaches the program by itself, which needs its database to the end.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            status = program.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
