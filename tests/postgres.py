"""`python -m tests.postgres COMMAND ...` runs a command with a PostgreSQL of its own.

The cluster lives in a temporary directory, listens on a socket in it and ends with the command.
SLUICE_TEST_DATABASE_URL names a database in it that does not exist yet. Where PostgreSQL is not
installed nothing is run: that is a failure where CI=true and a sentence elsewhere.
"""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "postgres"
OPTIONS = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c listen_addresses="


def programs() -> Path | None:
    """Where initdb and pg_ctl are: the newest version's directory, which is not on the PATH."""
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(found, key=lambda path: float(path.parts[-3]), default=None)
    return newest.parent if newest else None


@contextmanager
def cluster(binaries: Path) -> Iterator[str]:
    """The DATABASE_URL of a fresh cluster; PostgreSQL refuses root, which hands it to postgres."""
    directory = Path(tempfile.mkdtemp(prefix="sluice-postgres-"))
    try:
        if os.geteuid() == 0:
            account = pwd.getpwnam(USER)
            os.chown(directory, account.pw_uid, account.pw_gid)
        data = str(directory / "data")
        run(binaries / "initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"{OPTIONS} -k {directory}"
        log = str(directory / "log")
        run(binaries / "pg_ctl", "-D", data, "-w", "-l", log, "-o", options, "start")
        try:
            yield f"postgres://{USER}@/{directory}/sluice"
        finally:
            run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(directory)


def run(*command: str | Path) -> None:
    as_owner = ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*as_owner, *map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{Path(command[0]).name} failed:\n{done.stdout}")


def main(command: list[str]) -> int:
    binaries = programs()
    if binaries is None:
        sys.stdout.write("Not tested on PostgreSQL: install postgresql.\n")
        return 1 if os.environ.get("CI") == "true" else 0
    with cluster(binaries) as url:
        environment = {**os.environ, "SLUICE_TEST_DATABASE_URL": url}
        return subprocess.run(command, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
