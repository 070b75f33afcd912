"""Everything that people, workers and the API may do, in any order, against a small model.

What happened to the rows is written down by triggers of the database itself, so that no write
is overlooked; what happened at the API is its ledger.
"""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pytest_django import Settings

from batches import (
    building,
    cancelling,
    collecting,
    deciding,
    deleting,
    polling,
    reconciling,
    retrying,
    starting,
    submitting,
    waiting,
)
from batches.calling import client_for, live_key
from batches.deciding import CannotResolve
from batches.models import Batch, MessageBatch, Request, Result, Run
from batches.models.batch import COUNTED
from batches.planning import Selection
from leases.renewing import LeaseLost, Renewal
from tests.batches.memory_api import CREATES, MemoryApi
from tests.batches.stage import make_batch, make_workspace, now
from workspaces.models import ApiKey

MORE = os.environ.get("SLUICE_STATE_EXAMPLES", "")
EXAMPLES, STEPS = int(MORE or "16"), 25
ROWS = 7
PARTS_OF = 3
State = MessageBatch.State
DEAD = (State.DROPPED, State.REJECTED)
# How far a sender has come that dies.
DEATHS = ("claimed", "intended", "sent", "written")
FATES = ["sent", "sent", *DEATHS, *sorted(CREATES)]
STAGES = {
    "cancelling": cancelling.step,
    "polling": polling.step,
    "submitting": submitting.step,
    "reconciling": reconciling.step,
    "collecting": collecting.step,
    "building": building.step,
    "deleting": deleting.step,
}
# As the design has them, written down a second time.
EDGES = {
    "building": {"queued", "dropped"},
    "queued": {"sending", "dropped"},
    "sending": {"submitted", "queued", "rejected", "unknown"},
    "unknown": {"submitted", "dropped"},
    "dropped": {"submitted"},
    "submitted": {"stored", "incomplete", "lost"},
    "incomplete": {"stored", "lost"},
}
WATCH = """
CREATE TEMP TABLE states_seen (part, before, after);
CREATE TEMP TABLE ids_changed (part, before, after);
CREATE TEMP TRIGGER state_seen AFTER UPDATE OF state ON batches_messagebatch
WHEN old.state <> new.state BEGIN
    INSERT INTO states_seen VALUES (old.id, old.state, new.state);
END;
CREATE TEMP TRIGGER id_changed AFTER UPDATE OF message_batch_id ON batches_messagebatch
WHEN old.message_batch_id IS NOT NULL AND old.message_batch_id IS NOT new.message_batch_id BEGIN
    INSERT INTO ids_changed VALUES (old.id, old.message_batch_id, new.message_batch_id);
END;
"""


def fetch(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def statements(script: str) -> Iterator[str]:
    """SQLite takes one at a time; a trigger has a semicolon inside."""
    collected = ""
    for line in script.strip().splitlines():
        collected += line + "\n"
        if line.endswith(";") and not line.startswith(" "):
            yield collected
            collected = ""


class Machine(RuleBasedStateMachine):
    def __init__(self, settings: Settings, directory: Path) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(dir=directory))
        settings.DATA_DIR = self.directory
        self.at = now()
        self.api = MemoryApi(lambda: self.at)
        self.api.__enter__()
        settings.SANDBOX_URL = self.api.url
        self.undone = transaction.atomic()
        self.undone.__enter__()
        self.sleepers: list[tuple[Callable[..., None], Any]] = []
        # How often somebody said that a row may be paid for once more than the once.
        self.allowed: Counter[int] = Counter()
        self.told_to_drop: set[str] = set()
        self.told_wrong: set[str] = set()
        self.nonces: set[str] = set()
        self.succeeded_before: set[int] = set()
        self.creates_seen = 0
        self.presses = 0
        self.states: Counter[str] = Counter()
        self.looked_at = (-1, -1)

    @initialize(
        fates=st.lists(
            st.sampled_from([*sorted(CREATES), *DEATHS, *2 * ["sent"]]), min_size=2, max_size=2
        ),
        collected=st.sampled_from(["not yet", "whole", "cut", "proven"]),
    )
    def begin(self, fates: list[str], collected: str) -> None:
        """Two parts and what becomes of them at once: the rest is about what follows from it."""
        with connection.cursor() as cursor:
            for statement in statements(WATCH):
                cursor.execute(statement)
        self.workspace = make_workspace()
        ApiKey.seal(self.workspace, "sandbox", "sk-ant-states-key", models_read_at=now())
        self.batch = make_batch(self.workspace, [f"text {row}" for row in range(ROWS - 1)])
        self.start(count=ROWS - 2)
        for fate in fates:
            if fate in DEATHS:
                building.step(self.at)
                self.die_sending(fate)
            else:
                self.send_next(fate)
        self.at += timedelta(seconds=30)
        for _ in fates:
            reconciling.step(self.at)
        if collected != "not yet":
            self.api.lines_left_out = int(collected == "cut")
            self.end_and_collect(die=collected == "proven")

    def teardown(self) -> None:
        try:
            if hasattr(self, "batch"):
                self.finish()
        finally:
            transaction.set_rollback(True)
            self.undone.__exit__(None, None, None)
            self.api.__exit__()
            shutil.rmtree(self.directory)

    # What people do

    def parts(self, *states: str) -> list[MessageBatch]:
        found = MessageBatch.objects.filter(batch=self.batch.pk).order_by("pk")
        return list(found.filter(state__in=states) if states else found)

    @property
    def is_there(self) -> bool:
        return Batch.objects.filter(pk=self.batch.pk, deleting_at=None).exists()

    @precondition(lambda self: self.is_there)
    @rule(count=st.integers(1, ROWS))
    def start(self, count: int) -> None:
        """Press the button; while a Run waits to be built, nobody gets a second one."""
        waits = self.batch.runs.filter(state="queued").exists()
        self.presses += 1
        selection = Selection(kind="first", count=count, part_size=PARTS_OF)
        try:
            with transaction.atomic():
                starting.start(self.batch, selection, self.at, token=f"press-{self.presses}")
        except IntegrityError:
            assert waits
        else:
            assert not waits

    @precondition(lambda self: self.is_there)
    @rule()
    def cancel(self) -> None:
        cancelling.request_cancel(self.batch, self.at)

    @precondition(lambda self: self.states["unknown"] or self.states["dropped"])
    @rule(which=st.integers(0, 3), right=st.booleans())
    def adopt(self, which: int, right: bool) -> None:
        """Name what is at the API as a part: the right batch, or any other."""
        parts = self.parts(State.UNKNOWN, State.DROPPED)
        alike = [made for made in self.api.known() if (made.nonce in self.nonces) == right]
        if parts and alike:
            part = parts[which % len(parts)]
            own = [made for made in alike if made.nonce == part.nonce]
            made = (own or alike)[which % len(own or alike)]
            with suppress(CannotResolve):
                deciding.ask_to_adopt(part, made.id, self.at)
                if not own:
                    # Until it has ended nothing but its size can speak against it.
                    self.told_wrong.add(part.nonce)

    @precondition(lambda self: self.states["dropped"])
    @rule()
    def leave(self) -> None:
        for part in self.parts(State.DROPPED):
            if part.turned_up:
                self.told_to_drop.add(part.nonce)
                deciding.leave(part, self.at)
                return

    @precondition(lambda self: self.states["unknown"])
    @rule(which=st.integers(0, 3))
    def drop(self, which: int) -> None:
        parts = self.parts(State.UNKNOWN)
        part = parts[which % len(parts)]
        self.allow(part)
        deciding.drop(part, self.at)

    @precondition(lambda self: any(self.states[name] for name in ("unknown", *DEAD)))
    @rule(which=st.integers(0, 3))
    def send_again(self, which: int) -> None:
        parts = self.parts(State.UNKNOWN, *DEAD)
        part = parts[which % len(parts)]
        with suppress(CannotResolve):
            deciding.send_again(part, self.at)
            self.allow(part)

    @precondition(lambda self: self.is_there and self.states["stored"] + self.states["lost"])
    @rule(types=st.sets(st.sampled_from(["errored", "canceled", "expired", "missing", "not_sent"])))
    def retry(self, types: set[str]) -> None:
        """Send rows once more, with another recipe: so that whatever did not succeed may go."""
        self.presses += 1
        recipe = self.batch.recipe | {"max_tokens": 16 + self.presses}
        chosen = Selection(kind="retry", types=sorted(types), part_size=PARTS_OF)
        wish = retrying.Wish(self.batch, chosen, recipe)
        token = f"press-{self.presses}"
        waits = self.batch.runs.filter(state="queued").exists()
        counted = {found.row for found in wish.find()}
        try:
            with transaction.atomic():
                retrying.retry(wish, self.at, token=token, sentence="Sent once more.")
        except retrying.CannotRetry:
            assert waits
        else:
            # Whatever comes until it is built: it takes what was counted, and no other row.
            self.allowed.update(counted)

    def allow(self, part: MessageBatch) -> None:
        self.told_to_drop.add(part.nonce)
        self.allowed.update(Request.objects.of(part.pk).values_list("row", flat=True))

    @rule()
    def start_again(self) -> None:
        deciding.start_all_again(self.batch, self.at)
        starting.revive(self.batch)

    @precondition(lambda self: self.is_there and not self.states["queued"])
    @rule(remote=st.booleans())
    def delete(self, remote: bool) -> None:
        """Only what has ended can be deleted."""
        self.batch.refresh_from_db()
        final = self.batch.final
        assert deleting.request_delete(self.batch, self.at, remote=remote) == final

    @precondition(lambda self: self.states["stored"] + self.states["incomplete"])
    @rule(which=st.integers(0, 3))
    def collect_again(self, which: int) -> None:
        parts = self.parts(State.STORED, State.INCOMPLETE)
        with suppress(waiting.CannotCollect):
            waiting.collect_again(parts[which % len(parts)], self.at)

    @precondition(lambda self: self.states["incomplete"])
    @rule(which=st.integers(0, 3))
    def stop_waiting(self, which: int) -> None:
        parts = self.parts(State.INCOMPLETE)
        with suppress(waiting.CannotCollect):
            waiting.stop_waiting(parts[which % len(parts)], self.at)

    # What workers do

    @rule(stage=st.sampled_from(sorted(STAGES)), times=st.integers(1, 3))
    def work(self, stage: str, times: int) -> None:
        for _ in range(times):
            STAGES[stage](self.at, None)

    @rule(seconds=st.sampled_from([1, 30, 1_000]))
    def work_on(self, seconds: int) -> None:
        """As workers do when nothing is in their way."""
        self.at += timedelta(seconds=seconds)
        self.work_at_everything()

    @rule(meets=st.sampled_from(sorted(CREATES)))
    def send_next(self, meets: str) -> None:
        self.api.next_create = meets
        building.step(self.at)
        submitting.step(self.at)

    @rule(die=st.booleans())
    def end_and_collect(self, die: bool) -> None:
        for made in self.api.known():
            if made.status != "ended":
                made.end(["succeeded", "errored", "succeeded"])
        self.at += timedelta(minutes=5)
        polling.step(self.at)
        if die:
            self.die_collecting(proven=True)
            self.at += timedelta(minutes=5)
        collecting.step(self.at)

    @rule()
    def work_at_everything(self) -> None:
        for _ in range(40):
            if not sum(step(self.at, None) for step in STAGES.values()):
                return

    @precondition(lambda self: self.states["queued"])
    @rule(point=st.sampled_from(DEATHS))
    def die_sending(self, point: str) -> None:
        """Do what submitting does, and end in the middle of it."""
        queued = MessageBatch.objects.filter(state=State.QUEUED, cancel_requested_at=None)
        part, key = queued.claim("gone:1", self.at), live_key(self.workspace)
        if part is None or key is None or point == "claimed" or self.api.is_down:
            return
        with client_for(key) as client:
            head = client.list_batches(limit=1).first_id or ""
            if not submitting.intend(part, key, head) or point == "intended":
                return
            path = submitting.requests_path(part)
            body = submitting.requests_body(path, Renewal(part))
            self.api.next_create = "created"
            remote, request_id = client.create_batch(body, submitting.body_length(path))
        if point == "written":
            submitting.write_created(part, submitting.Created(part.nonce, remote, request_id))

    @precondition(lambda self: self.states["submitted"])
    @rule(proven=st.booleans())
    def die_collecting(self, proven: bool) -> None:
        ended = MessageBatch.objects.filter(state=State.SUBMITTED, processing_status="ended")
        part, key = ended.claim("gone:1", self.at), live_key(self.workspace)
        if part is None or key is None or not proven or self.api.is_down or part.proven_at:
            return
        if part.message_batch_id in self.api.deleted:
            return
        with client_for(key) as client:
            proof, _ = collecting.download(part, client)
        if not proof.objections():
            part.mine().update(results_fence=part.fence, proven_at=self.at)
            for request in islice(Request.objects.in_order(part.pk), 1):
                Result.objects.get_or_create(
                    request_id=request.pk,
                    defaults={"batch_id": part.batch_id, "row": request.row, "type": "errored"},
                )

    @rule(begun=st.booleans())
    def die_building(self, begun: bool) -> None:
        run = Run.objects.filter(state=Run.State.QUEUED).claim("gone:1", self.at)
        if run is not None and begun:
            renewal = Renewal(run)
            part = building.create_part(run, building.next_number(run), None, renewal)
            rows = building.render_chosen(run, {2, 3})
            building.write_part(part, rows, renewal)

    @precondition(lambda self: self.states["queued"])
    @rule()
    def fall_asleep_at_the_wire(self) -> None:
        """A worker hangs between its intent and the POST: nobody knows that it will go on."""
        queued = MessageBatch.objects.filter(state=State.QUEUED, cancel_requested_at=None)
        part, key = queued.claim("asleep:1", self.at), live_key(self.workspace)
        if part is not None and key is not None and submitting.intend(part, key, ""):
            self.sleepers.append((self.post, part))

    def post(self, part: MessageBatch, renewal: Renewal, at: datetime) -> None:
        key = live_key(self.workspace)
        assert key is not None
        with client_for(key) as client:
            submitting.post(part, key, client, renewal)

    @precondition(lambda self: self.sleepers)
    @rule(which=st.integers(0, 3))
    def be_overtaken(self, which: int) -> None:
        """Another worker takes up what a sleeper held, and dies over it; then the sleeper wakes."""
        _, row = self.sleepers[which % len(self.sleepers)]
        self.at = max(self.at + timedelta(seconds=25), now() + timedelta(seconds=25))
        type(row).objects.filter(pk=row.pk).claim("gone:2", self.at)
        self.wake_up(which)

    @rule(stage=st.sampled_from(["submitting", "collecting", "building", "cancelling"]))
    def fall_asleep(self, stage: str) -> None:
        """A worker claims a row and hangs before it does anything."""
        parts = MessageBatch.objects.all()
        rows, work = {
            "submitting": (
                parts.filter(state=State.QUEUED, cancel_requested_at=None),
                submitting.submit,
            ),
            "collecting": (
                parts.filter(state=State.SUBMITTED, processing_status="ended"),
                collecting.collect,
            ),
            "building": (Run.objects.filter(state="queued"), building.build_or_discard),
            "cancelling": (
                parts.filter(state=State.SUBMITTED, cancel_requested_at__isnull=False),
                cancelling.drop_or_cancel,
            ),
        }[stage]
        row = rows.claim("asleep:1", self.at)
        if row is not None:
            self.sleepers.append((work, row))

    @precondition(lambda self: self.sleepers)
    @rule(which=st.integers(0, 3))
    def wake_up(self, which: int) -> None:
        work, row = self.sleepers.pop(which % len(self.sleepers))
        # What it needs may be another worker's by now, or deleted with all that belongs to it.
        with suppress(LeaseLost, FileNotFoundError, Batch.DoesNotExist, MessageBatch.DoesNotExist):
            work(row, Renewal(row), at=self.at)

    @rule(seconds=st.sampled_from([1, 25, 70, 400, 1_000, 7_000, 60 * 3_600, 30 * 86_400]))
    def wait(self, seconds: int) -> None:
        self.at += timedelta(seconds=seconds)

    # What the API does

    @rule(meets=st.sampled_from(sorted(CREATES)))
    def plan_create(self, meets: str) -> None:
        self.api.next_create = meets

    @rule()
    def go_down_or_up(self) -> None:
        self.api.is_down = not self.api.is_down

    @rule(
        which=st.integers(0, 5),
        outcomes=st.lists(
            st.sampled_from(["succeeded", "succeeded", "errored", "canceled", "expired"]),
            min_size=1,
            max_size=3,
        ),
    )
    def end_one(self, which: int, outcomes: list[str]) -> None:
        running = [made for made in self.api.known() if made.status != "ended"]
        if running:
            running[which % len(running)].end(outcomes)

    @rule(lines=st.integers(1, 2))
    def cut_results(self, lines: int) -> None:
        self.api.lines_left_out = lines

    @rule(which=st.integers(0, 5))
    def forget_one(self, which: int) -> None:
        """Somebody deletes an ended batch at the API's own pages."""
        ended = [made for made in self.api.known() if made.status == "ended"]
        if ended:
            self.api.deleted.add(ended[which % len(ended)].id)

    @rule(size=st.integers(1, 3))
    def make_look_alike(self, size: int) -> None:
        self.api.make([f"theirs-{number}" for number in range(size)])

    # What has to be true at any time

    @invariant()
    def all_is_well(self) -> None:
        """Looked at where something has changed, in the database or at the API."""
        changed = connection.connection.total_changes, len(self.api.made)
        if not hasattr(self, "batch") or changed == self.looked_at:
            return
        self.only_edges_of_the_design()
        self.one_create_for_one_attempt()
        if self.is_there:
            self.every_row_is_counted_once()
        self.what_is_stored_is_what_the_api_has_said()
        self.states = Counter(part.state for part in self.parts())
        self.looked_at = connection.connection.total_changes, len(self.api.made)

    def only_edges_of_the_design(self) -> None:
        for part, before, after in fetch("SELECT * FROM states_seen"):
            assert after in EDGES.get(before, ()), f"part {part} went from {before} to {after}"
        assert fetch("SELECT * FROM ids_changed") == []

    def one_create_for_one_attempt(self) -> None:
        parts = {part.nonce: part for part in self.parts()}
        self.nonces |= set(parts)
        ours = [made for made in self.api.made if made.nonce in self.nonces]
        assert len({made.nonce for made in ours}) == len(ours)
        foreign = len(self.api.made) - len(ours)
        assert foreign == sum(made.nonce == "" for made in self.api.made)
        for made in ours:
            # It exists, so it must not be thought of as something that can still be sent.
            part = parts.get(made.nonce)
            assert part is None or part.state not in (State.QUEUED, State.REJECTED, State.BUILDING)
            right = part is None or part.message_batch_id in (None, made.id)
            assert right or made.nonce in self.told_wrong
        times = Counter(row for made in ours for row in made.rows)
        assert all(number <= 1 + self.allowed[row] for row, number in times.items())
        for made in ours[self.creates_seen :]:
            assert not self.succeeded_before.intersection(made.rows)
        self.creates_seen = len(ours)
        succeeded = Result.objects.filter(batch_id=self.batch.pk, type="succeeded", retried_in=None)
        self.succeeded_before = set(succeeded.values_list("row", flat=True))

    def every_row_is_counted_once(self) -> None:
        assert self.batch.runs.filter(state="queued").count() <= 1
        batch = Batch.objects.get(pk=self.batch.pk)
        sent, not_sent = self.rows_by_fate()
        assert (batch.sent, batch.not_sent) == (len(sent), len(not_sent))
        assert batch.answered + batch.waiting == batch.sent
        assert batch.waiting >= 0
        total = batch.left_out + batch.not_sent + batch.sent + batch.not_chosen
        assert total == batch.rows or not batch.parts
        with transaction.atomic():
            again = Batch.objects.get(pk=self.batch.pk)
            again.recount()
            names = [*COUNTED, "state"]
            assert [getattr(again, name) for name in names] == [
                getattr(batch, name) for name in names
            ]

    def rows_by_fate(self) -> tuple[set[int], set[int]]:
        """The rows that may be at the API, and those that were built and are not."""
        sent: set[int] = set()
        built: set[int] = set()
        for part in self.parts():
            rows = set(Request.objects.of(part.pk).values_list("row", flat=True))
            if part.state != State.BUILDING:
                built |= rows
            if part.state not in (State.BUILDING, State.DROPPED, State.REJECTED):
                sent |= rows
        return sent, built - sent

    def what_is_stored_is_what_the_api_has_said(self) -> None:
        made = {one.id: one for one in self.api.made}
        for part in self.parts(State.STORED):
            found = Result.objects.of(part.pk).order_by("pk").values_list("row", "type")
            there = made[part.message_batch_id or ""]
            assert list(found) == list(zip(there.rows, there.outcomes, strict=True))

    # And in the end

    def finish(self) -> None:
        """Nothing is in the way any more: what was begun ends, asking a person at most."""
        self.api.is_down, self.api.next_create = False, "created"
        for turn in range(16):
            self.work_at_everything()
            for made in self.api.known():
                if made.status != "ended":
                    made.end(["succeeded"])
            self.start_again()
            for part in self.parts(State.UNKNOWN, State.DROPPED):
                if part.needs_person:
                    self.decide(part)
            # What was deleted at the API is asked for as long as it could be there.
            self.at += timedelta(days=31) if turn in (8, 12) else timedelta(minutes=20)
            if self.is_at_rest:
                break
        if not self.is_there:
            assert not MessageBatch.objects.filter(batch=self.batch.pk).exists()
            return
        self.batch.refresh_from_db()
        left = MessageBatch.objects.filter(batch=self.batch, state__in=MessageBatch.OPEN)
        assert self.batch.final, str(list(left.values()))
        self.one_create_for_one_attempt()
        parts = {part.nonce: part for part in self.parts()}
        for made in self.api.made:
            if made.nonce in parts.keys() - self.told_to_drop - self.told_wrong:
                assert parts[made.nonce].state in (State.STORED, State.LOST)

    @property
    def is_at_rest(self) -> bool:
        if not self.is_there:
            return not Batch.objects.filter(pk=self.batch.pk).exists()
        self.batch.refresh_from_db()
        return self.batch.final and not any(part.needs_person for part in self.parts())

    def decide(self, part: MessageBatch) -> None:
        own = [made for made in self.api.known() if made.nonce == part.nonce]
        with suppress(CannotResolve):
            if own:
                deciding.ask_to_adopt(part, own[0].id, self.at)
            elif part.state == State.DROPPED:
                deciding.leave(part, self.at)
            else:
                self.allow(part)
                deciding.drop(part, self.at)


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="its triggers are SQLite's")
def test_whatever_happens(settings: Settings, tmp_path: Path) -> None:
    run_state_machine_as_test(
        lambda: Machine(settings, tmp_path),
        settings=limits(),
    )


def limits() -> settings:
    return settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=not MORE,
        database=None,
        # To shorten what was found takes longer than to find it.
        phases=[Phase.generate, Phase.shrink] if MORE else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
