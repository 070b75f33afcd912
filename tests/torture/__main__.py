"""Tortures workers until so many have died, tries the checker, and says what came of it."""

import argparse
import os
import re
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from tests.processes import running, wait_for_line

READY = re.compile(r"sandbox ready on (http://\S+)")
# A worker that learns that its outcome is unknown looks so long before somebody is asked. No
# fault and no death delays an effect for longer.
SETTLE = 1.0
# How often each scene hurts one world, and its share of the submits or collects that are asked for.
SUBMITS = {
    "submit": (13, 0.55),
    "submit while answers get lost": (8, 0.2),
    "look alikes": (4, 0.05),
    "redirected": (3, 0.02),
    "pauses": (6, 0.08),
    "database restored": (3, 0.03),
    "storm": (8, 0.15),
}
COLLECTS = {"collect": (12, 1.0), "collect what is spoilt": (8, 0.25)}
OTHERS = {
    "counts of another type": (3, 0.1),
    "build": (8, 0.4),
    "cancel": (8, 0.4),
    "cancel what is unknown": (4, 0.2),
    "delete": (8, 0.4),
    "retries": (8, 0.3),
}
BY_ITSELF = {"pauses before the wire": (2, 0.0)}
CAUGHT_BY = {
    "create is retried": ("submit while answers get lost", 10),
    "unknown is sent again": ("submit while answers get lost", 10),
    "overloaded means not created": ("submit while answers get lost", 10),
    "intent comes after the wire": ("submit", 13),
    "fences are ignored": ("pauses before the wire", 1),
    "the lease is not checked": ("pauses before the wire", 1),
    "redirects are followed": ("redirected", 1),
    "there is no journal": ("database restored", 1),
    "the journal comes after the database": ("submit", 13),
    "the nonce is not checked": ("look alikes", 4),
    "somebody is asked too soon": ("submit while answers get lost", 10),
    "answers are not counted": ("collect what is spoilt", 9),
    "types are not counted": ("counts of another type", 1),
    "the key is logged": ("submit", 2),
    "foreign answers are taken": ("collect what is spoilt", 9),
    "a cancelled part is given up": ("cancel what is unknown", 4),
}
# What a slow machine could cause as well does not count as seen.
SLOW = ("never came to rest", "half a state", "a worker did not")
BUG_WORLDS = 3
NAIVE_JOBS = 40
LEAST_NAIVE = 0.3


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
    parser.add_argument("--scene", default="", help="this one only, one world: repeats a seed")
    parser.add_argument("--bug", default="", help="with this bug planted")
    parser.add_argument("--times", type=int, help="how often the scene hurts")
    parser.add_argument("--no-bugs", action="store_true", help="do not try the checker")
    parser.add_argument("--quick", action="store_true", help="only a world of each kind")
    return parser.parse_args()


def set_up(directory: Path, url: str) -> None:
    """An environment of its own, nothing of the person's."""
    given = os.environ.get("SLUICE_TEST_DATABASE_URL")
    for name in [one for one in os.environ if one.startswith("SLUICE_")]:
        del os.environ[name]
    database = f"{given}_torture" if given else f"sqlite:///{directory}/template.sqlite3"
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
        from django.core.management import call_command
        from django.db import connections

        from batches import indexing, versions
        from claude_api.client import trusted_certificates
        from tests.torture.elsewhere import Elsewhere
        from tests.torture.world import Databases

        self.directory, self.url, self.options = directory, url, options
        self.databases = Databases(directory)
        self.databases.create()
        call_command("migrate", verbosity=0)
        connections.close_all()
        # So that rows of these worlds are several chunks; every worker is a child of this process.
        indexing.CHUNK = 4
        trusted_certificates()
        versions.known_migrations()
        self.elsewhere = Elsewhere(directory)
        self.worlds = 0
        self.hurt: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()
        self.points: Counter[str] = Counter()
        self.violations: list[str] = []
        self.began = time.monotonic()

    def run(self) -> int:
        try:
            if self.options.scene:
                self.repeat()
            else:
                self.torture()
                if not self.options.no_bugs:
                    self.try_checker()
        finally:
            self.elsewhere.end()
        self.summarise()
        return 1 if self.violations else 0

    def repeat(self) -> None:
        times = {**SUBMITS, **COLLECTS, **OTHERS, **BY_ITSELF}[self.options.scene][0]
        times = self.options.times or times
        self.play(self.options.scene, times, self.options.seed, self.options.bug)

    def torture(self) -> None:
        from tests.torture.points import EVERY

        trials = self.options.trials
        for scenes, all_trials in ((SUBMITS, trials), (COLLECTS, trials / 2), (OTHERS, trials / 4)):
            for name, (times, share) in scenes.items():
                wanted = times if self.options.quick else max(times, round(all_trials * share))
                while wanted > 0:
                    self.play(name, min(times, wanted), self.options.seed + self.worlds)
                    wanted -= times
        # A world of each kind is too short to come everywhere.
        wanted_points = () if self.options.quick else EVERY
        missed = [point.name for point in wanted_points if not self.points[point.name]]
        self.violations += [f"no worker ever came to: {name}" for name in missed]

    def play(self, name: str, times: int, seed: int, bug: str = "") -> list[str]:
        from tests.torture.checker import check
        from tests.torture.scenes import SCENES
        from tests.torture.world import World

        began = time.monotonic()
        self.worlds += 1
        directory = self.directory / f"world-{self.worlds}"
        with World(self.databases, directory, self.url, seed, bug) as world:
            world.elsewhere = self.elsewhere
            SCENES[name](world, times)
            found = check(world)
            world.violations = found
        seconds = time.monotonic() - began
        if not bug or self.options.scene:
            self.points += world.reached
            self.hurt[name] += times
            self.totals["killed"] += world.kills
            self.totals["asked"] += world.asked
            for kind in ("double", "lost", "wrong adoption"):
                self.totals[kind] += sum(one.startswith(kind) for one in found)
            self.violations += [f"{name}, seed {seed}: {one}" for one in found]
            say(f"{name:32} {times:3} times  {world.kills:3} killed  {seconds:5.1f} s  seed {seed}")
            for one in found:
                say(f"  VIOLATION {one}")
        return found

    def try_checker(self) -> None:
        """What fails must be seen to fail: the naive client, and ours with each bug planted."""
        from tests.torture import naive
        from tests.torture.bugs import BUGS

        outcome = naive.run(self.url, self.directory, self.options.seed, NAIVE_JOBS)
        say(f"the naive client: {outcome.double} double, {outcome.lost} lost of {outcome.jobs}")
        if outcome.failed < LEAST_NAIVE:
            self.violations.append(f"the naive client failed in {outcome.failed:.0%} only")
        for bug in BUGS:
            began = time.monotonic()
            found: list[str] = []
            for number in range(BUG_WORLDS):
                found = self.play(*CAUGHT_BY[bug], self.options.seed + number, bug)
                found = [one for one in found if not one.startswith(SLOW)]
                if found:
                    break
            seconds = time.monotonic() - began
            caught = f"caught: {found[0][:90]}" if found else "NOT CAUGHT"
            say(f"planted: {bug:40} {seconds:5.1f} s  {caught}")
            self.totals["bugs caught" if found else "bugs missed"] += 1
            if not found:
                self.violations.append(f"the checker does not see that {bug}")

    def summarise(self) -> None:
        from django.db import connection

        say("")
        for name, number in sorted(self.points.items()):
            if number:
                say(f"  {name:38} {number:5}")
        say("")
        for name, number in self.hurt.items():
            say(f"  {name:38} {number:5} times")
        for name in ("killed", "asked", "double", "lost", "wrong adoption", "bugs caught"):
            say(f"  {name:38} {self.totals[name]:5}")
        seconds = time.monotonic() - self.began
        say(f"{connection.vendor}, seed {self.options.seed}, {self.worlds} worlds, {seconds:.0f} s")
        for one in self.violations:
            say(f"VIOLATION {one}")
        say("FAILED" if self.violations else "nothing lost, nothing twice")


def say(line: Any) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
