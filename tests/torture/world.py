"""One world: a database, a data directory, a scope of the sandbox, and somebody who operates it."""

import random
import secrets
import shutil
import signal
import sqlite3
import time
import urllib.request
from collections import Counter
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, connections
from django.db.models import Q

from batches import deciding
from batches.models import Batch, MessageBatch, Run
from batches.planning import Selection
from batches.starting import start
from leases.clock import database_now
from leases.models import CRASH_LIMIT
from tests.batches.stage import SandboxScope, make_batch
from tests.torture.points import Point
from tests.torture.worker import Worker
from workspaces.models import ApiKey, Workspace

State = MessageBatch.State
PROMPT = "canary-of-a-prompt"
REST = 0.05
PATIENCE = 120.0
# With a bug there may be no rest: the harm is done by then, also on a slow machine.
ROUNDS_WITH_A_BUG = 25


class Databases:
    """Fresh copies of a migrated database: files of SQLite, or databases of one PostgreSQL."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.is_sqlite = connection.vendor == "sqlite"
        self.template = str(connection.settings_dict["NAME"])
        self.prefix = self.template
        self._numbers = iter(range(1, 1_000_000))

    def create(self) -> None:
        if not self.is_sqlite:
            self._on_server(f'CREATE DATABASE "{self.template}"')

    def begin(self, place: Path) -> None:
        """What is copied from here on belongs to one world."""
        self.directory, self.prefix = place, f"{self.template}_{place.name}"

    def copy(self, name: str = "") -> str:
        """A new database like `name` or like the template."""
        number = next(self._numbers)
        if self.is_sqlite:
            path = str(self.directory / f"{number}.sqlite3")
            like = sqlite3.connect(name or self.template)
            with closing(like) as source, closing(sqlite3.connect(path)) as target:
                source.backup(target)
            return path
        copy = f"{self.prefix}_{number}"
        self._on_server(f'CREATE DATABASE "{copy}" TEMPLATE "{name or self.template}"')
        return copy

    def use(self, name: str) -> None:
        connections.close_all()
        connection.settings_dict["NAME"] = name

    def drop(self, name: str) -> None:
        if self.is_sqlite:
            for path in self.directory.glob(Path(name).name + "*"):
                path.unlink()
        else:
            self._on_server(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _on_server(self, statement: str) -> None:
        before = connection.settings_dict["NAME"]
        self.use("postgres")
        with connection.cursor() as cursor:
            if "TEMPLATE" in statement:
                # A killed worker's session may be there a moment longer than itself.
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                    [statement.split('"')[3]],
                )
            cursor.execute(statement)
        self.use(before)


class World:
    def __init__(
        self, databases: Databases, directory: Path, url: str, seed: int, bug: str = ""
    ) -> None:
        self.databases, self.bug, self.seed = databases, bug, seed
        self.random = random.Random(seed)
        self.directory = directory
        settings.DATA_DIR = directory / "data"
        settings.DATA_DIR.mkdir()
        self.log = directory / "log"
        self.log.touch()
        self.name = databases.copy()
        databases.use(self.name)
        # Of a scope nothing remains when the sandbox ends.
        self.secret = f"sk-ant-torture{secrets.token_hex(8)}-canary-of-a-key"
        self.scope = SandboxScope(url, self.secret)
        self.scope.change(batch_seconds=0.1, failure_rate=0.1)
        self.workspace = Workspace.objects.create(name="Torture", slug="torture")
        # Read already: what a model allows is not what is tried here.
        at = datetime.now(UTC)
        ApiKey.seal(self.workspace, "sandbox", self.secret, models=[], models_read_at=at)
        self.sizes = self.random.sample(range(1, 31), 30)
        self.asked = 0
        self.reached: Counter[str] = Counter()
        self.kills = 0
        self.approved: Counter[tuple[int, int]] = Counter()  # times that a row may be sent again
        self.gone: dict[str, str] = {}  # nonce and id of what was deleted with its Batch
        self.left_there: set[str] = set()  # what turned up late, and somebody left at the API
        self.violations: list[str] = []
        self.elsewhere: Any = None
        self.given_up: set[int] = set()  # parts that somebody dropped
        self.workers: list[Worker] = []

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self.workers:
            worker.kill()
        connections.close_all()
        self.databases.drop(self.name)
        shutil.rmtree(self.directory / "data")

    # What people do

    def begin(self, parts: int = 3, **selection: Any) -> Batch:
        """A person sends a table in so many parts of different sizes."""
        if len(self.sizes) < parts:
            self.sizes += self.random.sample(range(1, 31), 30)
        size = max(2, self.sizes.pop())
        rows = sum(size + number for number in range(parts))
        cells = [f"{PROMPT} {number}" for number in range(rows)]
        batch = make_batch(self.workspace, cells)
        start(batch, Selection(part_size=-(-rows // parts), **selection), database_now())
        return batch

    def fault(self, on: str, kind: str, **fields: Any) -> None:
        self.scope.call("/_sandbox/faults", {"on": on, "kind": kind, **fields})

    def clear_faults(self) -> None:
        self.scope.call("/_sandbox/faults", method="DELETE")

    def results(self, id: str) -> bytes:
        request = urllib.request.Request(
            f"{self.scope.url}/v1/messages/batches/{id}/results",
            headers={"x-api-key": self.secret, "anthropic-version": "2026-10-21"},
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.read()

    # Workers

    def worker(self, *command: str, **instruments: Any) -> Worker:
        chosen = command or ("poll_batches", "--once", "--interval", "0.05")
        self.workers = [worker for worker in self.workers if worker.status is None]
        self.workers.append(Worker(self.log, *chosen, bug=self.bug, **instruments))
        return self.workers[-1]

    def work(self, point: Point | None = None, time: int = 1) -> bool:
        """Let one worker work until nothing is due, or until it dies at its point: then True."""
        self.hurry()
        worker = self.worker(point=point, time=time)
        if not worker.wait():
            worker.kill()
            self.violations.append(f"a worker did not end (point {point})")
        if worker.reached:
            self.reached[worker.reached] += 1
            self.kills += 1
        return bool(worker.reached)

    def pause_at(self, point: Point, time: int = 1) -> bool:
        """One worker sleeps at its point past its lease; another works, then it wakes up."""
        self.hurry()
        sleeper = self.worker(point=point, time=time, how=signal.SIGSTOP, short_lease=True)
        if not sleeper.wait_for_stop():
            return False
        self.reached[f"paused {sleeper.reached}"] += 1
        self.rest(asleep=True)
        sleeper.go_on()
        if not sleeper.wait():
            sleeper.kill()
            self.violations.append(f"a worker did not wake up (point {point})")
        return True

    def hurry(self) -> None:
        """Time passes: what waits for an hour is due now."""
        now = database_now()
        for model in (MessageBatch, Run, ApiKey):
            free = Q(lease_until=None) | Q(lease_until__lte=now)
            model.objects.filter(free, due_at__gt=now).update(due_at=now)
        ApiKey.objects.filter(paused_until__gt=now).update(paused_until=None)
        Batch.objects.filter(deleting_at__gt=now).update(deleting_at=now)

    # Rest

    def rest(self, *, asleep: bool = False) -> None:
        """Work and answer what is asked until there is nothing left to do."""
        deadline = time.monotonic() + PATIENCE
        for rounds in count():
            self.work_undisturbed(short_lease=asleep)
            self.answer()
            left = self.left()
            if not left:
                return
            if time.monotonic() > deadline or (self.bug and rounds == ROUNDS_WITH_A_BUG):
                self.violations.append(f"never came to rest: {', '.join(left)}")
                return
            time.sleep(REST)

    def work_undisturbed(self, *, short_lease: bool = False) -> None:
        self.hurry()
        worker = self.worker(short_lease=short_lease)
        if not worker.wait():
            worker.kill()
            self.violations.append("a worker did not end")

    def left(self) -> list[str]:
        is_open = Q(state__in=[*MessageBatch.OPEN, State.BUILDING])
        open_parts = MessageBatch.objects.filter(is_open | ~Q(adopt_id=""))
        runs = Run.objects.filter(state=Run.State.QUEUED)
        going = Batch.objects.filter(deleting_at__isnull=False)
        wished = Batch.objects.filter(delete_remote=True)
        parts = [f"{part} is {part.state} ({part.reason})" for part in open_parts[:5]]
        return [
            *parts,
            *(f"{run} is queued" for run in runs[:3]),
            *(f"{batch} is not deleted" for batch in going[:3]),
            *(f"{batch} is not deleted at the API" for batch in wished[:3]),
        ]

    def answer(self) -> None:
        """The person who is asked has looked at what is there, which is the ledger."""
        at = database_now()
        for model in (MessageBatch, Run, ApiKey):
            model.objects.filter(crashes__gte=CRASH_LIMIT).update(crashes=0, due_at=at)
        asking = [part for part in MessageBatch.objects.filter(adopt_id="") if part.needs_person]
        if not asking:
            return
        ledger = self.scope.ledger()
        for part in asking:
            self.asked += 1
            # While another Run of the Batch is being built it is refused, and asked again.
            with suppress(deciding.CannotResolve):
                self.decide(part, ledger, at)

    def decide(self, part: MessageBatch, ledger: dict[str, Any], at: datetime) -> None:
        ours = created_with(ledger, part.nonce)
        if part.turned_up and part.pk in self.given_up:
            self.answer_about_late(part, at)
        elif part.turned_up:
            self.violations.append(f"{part} turned up after somebody had been asked about it")
            deciding.ask_to_adopt(part, part.turned_up["id"], at)
        elif ours:
            if not part.candidates:
                self.violations.append(
                    f"somebody was asked about {part} although the API has {ours[0]}"
                )
            deciding.ask_to_adopt(part, ours[0], at)
        else:
            deciding.send_again(part, at)

    def answer_about_late(self, part: MessageBatch, at: datetime) -> None:
        late = part.turned_up["id"]
        if self.random.random() < 0.5:
            deciding.ask_to_adopt(part, late, at)
        else:
            deciding.leave(part, at)
            self.left_there.add(late)


def created_with(ledger: dict[str, Any], nonce: str) -> list[str]:
    """The ids of the batches that were really created with this nonce."""
    return [create["id"] for create in ledger["creates"] if nonce_of(create) == nonce]


def nonce_of(create: dict[str, Any]) -> str:
    return str(create["custom_ids"][0]).rpartition("_")[2]
