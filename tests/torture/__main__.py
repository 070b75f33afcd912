"""Tortures workers until so many have died, tries the checker, and says what came of it."""

import argparse
import os
import re
import resource
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from tests.processes import running, wait_for_line
from tests.torture.plans import (
    BUG_SEEDS,
    CAUGHT_BY,
    NAIVE,
    TIMES,
    Play,
    everything,
    planted,
    small,
)

READY = re.compile(r"sandbox ready on (http://\S+)")
# A worker that learns that its outcome is unknown looks so long before somebody is asked. No
# fault and no death delays an effect for longer.
SETTLE = 1.0
NAIVE_JOBS = 40
LEAST_NAIVE = 0.3
KINDS = ("double", "lost", "wrong adoption")


def main() -> int:
    options = read_options()
    # Nothing is left behind, however it is ended.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="sluice-torture-") as name:
        directory = Path(name)
        log = directory / "sandbox.log"
        command = (sys.executable, "-m", "sandbox", "--port", "0", "--data", f"{name}/sandbox")
        with running(*command, log=log) as process:
            url = wait_for_line(process, log, READY)[1]
            set_up(directory, url)
            return Torture(directory, url, options).run()


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--trials", type=int, default=200, help="submits that are hurt")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--scene", choices=TIMES, help="this one only, one world: repeats a seed")
    parser.add_argument("--times", type=int, help="how often the scene hurts")
    parser.add_argument(
        "--bug", choices=CAUGHT_BY, action="append", default=[], help="see this one caught"
    )
    parser.add_argument("--no-bugs", action="store_true", help="do not try the checker")
    parser.add_argument("--small", action="store_true", help="the few worlds of make test")
    parser.add_argument("--side-by-side", type=int, default=(os.cpu_count() or 1) + 1)
    return parser.parse_args()


def set_up(directory: Path, url: str) -> None:
    """An environment of its own, nothing of the person's."""
    given = os.environ.get("SLUICE_TEST_DATABASE_URL")
    for name in [one for one in os.environ if one.startswith("SLUICE_")]:
        del os.environ[name]
    # Several runs may share a server.
    own = f"{given}_torture_{secrets.token_hex(4)}"
    database = own if given else f"sqlite:///{directory}/template.sqlite3"
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SECRET_KEY": secrets.token_hex(32),
        "DEBUG": "false",
        "DATABASE_URL": database,
        "REDIS_URL": "",
        "SLUICE_DATA_DIR": str(directory / "data"),
        "SLUICE_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "SANDBOX_URL": url,
        "CLAUDE_API_URL": url,
        "ANTHROPIC_API_KEY": "",
        "SLUICE_SETTLE_SECONDS": str(SETTLE),
        "SLUICE_LISTING_SECONDS": "2",
        "SLUICE_FREE_DISK": "0",
    }
    import django

    django.setup()


class Torture:
    """One run on one database."""

    def __init__(self, directory: Path, url: str, options: argparse.Namespace) -> None:
        from django.core.management import call_command, load_command_class
        from django.db import connections

        from batches import indexing, versions
        from claude_api.client import trusted_certificates
        from tests.torture.playing import Players

        self.options = options
        self.players = Players(directory, url, options.side_by_side)
        self.players.databases.create()
        call_command("migrate", verbosity=0)
        connections.close_all()
        # So that rows of these worlds are several chunks.
        indexing.CHUNK = 4
        # Every worker descends of this process: what is read here is read once.
        trusted_certificates()
        versions.known_migrations()
        for command in ("poll_batches", "run_batch"):
            load_command_class("batches", command)
        self.hurt: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()
        self.points: Counter[str] = Counter()
        self.violations: list[str] = []
        self.began = time.monotonic()

    def run(self) -> int:
        options = self.options
        seed = options.seed
        try:
            if options.scene:
                times = options.times or TIMES[options.scene]
                self.torture([Play(options.scene, times, seed, "".join(options.bug))])
            elif options.bug:
                self.try_checker(options.bug, seed)
            else:
                self.torture(small(seed) if options.small else everything(options.trials, seed))
                if not options.small:
                    self.miss_no_point()
                if not options.no_bugs:
                    self.try_naive(seed)
                    self.try_checker(list(CAUGHT_BY), seed)
        finally:
            self.players.end()
        self.summarise()
        return 1 if self.violations else 0

    def torture(self, plays: Iterable[Play]) -> None:
        for play, outcome in self.players.play(plays):
            self.points.update(outcome.reached)
            self.hurt[play.scene] += play.times
            self.totals["killed"] += outcome.kills
            self.totals["asked"] += outcome.asked
            for kind in KINDS:
                self.totals[kind] += sum(one.startswith(kind) for one in outcome.violations)
            self.violations += [f"{play.scene}, seed {play.seed}: {v}" for v in outcome.violations]
            hurt = f"{play.scene:32} {play.times:3} times  {outcome.kills:3} killed"
            say(f"{hurt}  {outcome.seconds:5.1f} s  seed {play.seed}")
            for one in outcome.violations:
                say(f"  VIOLATION {one}")

    def miss_no_point(self) -> None:
        from tests.torture.points import EVERY

        missed = [point.name for point in EVERY if not self.points[point.name]]
        self.violations += [f"no worker ever came to: {name}" for name in missed]

    def try_naive(self, seed: int) -> None:
        """What ours survives is dangerous: who does not know of it fails."""
        for _, outcome in self.players.play([Play(NAIVE, NAIVE_JOBS, seed)]):
            failed = Counter(one.partition(":")[0] for one in outcome.violations)
            say(f"{NAIVE}: {dict(failed)} of {NAIVE_JOBS}, {outcome.seconds:.1f} s")
            if failed["double"] + failed["lost"] < LEAST_NAIVE * NAIVE_JOBS:
                self.violations.append(f"{NAIVE} failed {dict(failed)} times only")

    def try_checker(self, bugs: list[str], seed: int) -> None:
        """What fails must be seen to fail, by the harm that it does."""
        missed = list(bugs)
        for number in range(BUG_SEEDS):
            for play, outcome in self.players.play(planted(missed, seed + number)):
                shows = CAUGHT_BY[play.bug].shows
                seen = [one for one in outcome.violations if shows in one]
                other = f" ({outcome.violations[0][:60]})" if outcome.violations else ""
                caught = f"caught: {seen[0][:80]}" if seen else f"not caught yet{other}"
                say(f"planted: {play.bug:38} {outcome.seconds:5.1f} s  {caught}")
                if seen:
                    missed.remove(play.bug)
        self.totals["bugs planted"] = len(bugs)
        self.totals["bugs caught"] = len(bugs) - len(missed)
        self.violations += [f"the checker does not see that {bug}" for bug in missed]

    def summarise(self) -> None:
        from django.db import connection

        say("")
        for name, number in sorted(self.points.items()):
            say(f"  {name:38} {number:5}")
        say("")
        for name, number in self.hurt.items():
            say(f"  {name:38} {number:5} times")
        say("")
        for letter, what in (("K", "submit"), ("C", "collect")):
            killed = sum(number for name, number in self.points.items() if name[0] == letter)
            say(f"  {f'killed at points of {what}':38} {killed:5}")
        for name in ("killed", "asked", *KINDS, "bugs planted", "bugs caught"):
            say(f"  {name:38} {self.totals[name]:5}")
        vendor, worlds = connection.vendor, self.players.worlds
        seconds, used = time.monotonic() - self.began, seconds_of_cores()
        took = f"{worlds} worlds, {seconds:.0f} s, {used:.0f} s of cores"
        say(f"{vendor}, seed {self.options.seed}, {took}")
        for one in self.violations:
            say(f"VIOLATION {one}")
        say("FAILED" if self.violations else "nothing lost, nothing twice")


def seconds_of_cores() -> float:
    """What this process and those of the worlds have used; not the sandbox, which runs still."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def say(line: Any) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
