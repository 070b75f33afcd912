"""What is done to the workers of a world; each scene ends at rest and is then checked.

Each takes the number of times that it hurts, and a world of its own.
"""

from collections.abc import Callable, Iterator
from itertools import cycle, islice
from time import sleep
from typing import Any

from batches import deciding
from batches.cancelling import request_cancel
from batches.deleting import request_delete
from batches.models import Batch, MessageBatch, Request, Result, Run
from batches.planning import Selection
from batches.retrying import CannotRetry, Wish, retry
from leases.clock import database_now
from tests.batches.stage import body_of
from tests.torture import points
from tests.torture.points import Point
from tests.torture.world import World

Scene = Callable[[World, int], None]
SCENES: dict[str, Scene] = {}
State = MessageBatch.State
NAMED = {point.name: point for point in points.SUBMIT}
CLAIMED, SAVED = NAMED["K2 claimed"], NAMED["K8 saved"]
BEFORE_THE_WIRE = NAMED["K3 before the connect"]
# Nobody hears what was answered; who looks for it is the next worker.
ANSWERED = Point("K6 no answer", "call", "batches.submitting:become_unknown")
MOST_LOOKS, SOON = 40, 0.1
LOST_ANSWERS: tuple[dict[str, Any], ...] = (
    {"kind": "drop", "when": "after_effect"},
    {"kind": "drop", "when": "after_effect", "end": "reset"},
    {"kind": "drop", "when": "in_body", "bytes": 200},
    {"kind": "drop", "when": "after_body"},
    {"kind": "status", "code": 529, "when": "after_effect"},
    {"kind": "status", "code": 500, "when": "after_effect", "shape": "html"},
    {"kind": "status", "code": 529, "when": "after_body"},
    {"kind": "status", "code": 429, "when": "after_body", "retry_after": 7},
    {"kind": "late", "seconds": 0.3},
    {"kind": "cut", "bytes": 40},
)
SPOILT_RESULTS: tuple[dict[str, Any], ...] = (
    {"kind": "cut", "records": 1, "transfer": "close"},
    {"kind": "cut", "records": 1, "end": "whole"},
    {"kind": "cut", "bytes": 300, "end": "reset"},
    {"kind": "foreign_lines"},
    {"kind": "missing_lines"},
    {"kind": "doubled_lines"},
    {"kind": "doubled_lines", "different": True},
    {"kind": "change", "fields": {"custom_id": "2_ofsomebodyelse"}},
    {"kind": "status", "code": 404},
    {"kind": "drop"},
)


# So many workers are let work until one comes to a point.
MOST_TRIES = 4


def scene(play: Scene) -> Scene:
    SCENES[play.__name__.replace("_", " ")] = play
    return play


def kill_often(
    world: World, chosen: tuple[Point, ...], times: int, begin: Callable[[], Any]
) -> None:
    """Kill so many workers, at each of these points in turn; with more work where it runs out.

    One may have to let another work first until there is something to do at its point.
    """
    for point in islice(cycle(world.random.sample(chosen, len(chosen))), times):
        often = [world.random.randint(1, point.most), *[1] * (MOST_TRIES - 1)]
        for time in often:
            world.answer()
            begin()
            if world.work(point, time):
                break


def in_turn(
    world: World, faults: tuple[dict[str, Any], ...], times: int
) -> Iterator[dict[str, Any]]:
    """So many of them, each as often as any other."""
    return islice(cycle(world.random.sample(faults, len(faults))), times)


def has_state(*states: str) -> bool:
    return MessageBatch.objects.filter(state__in=states).exists()


@scene
def submit(world: World, times: int) -> None:
    """Workers die at every point of submitting."""

    def begin() -> None:
        if not has_state(State.QUEUED) and not Run.objects.filter(state="queued").exists():
            world.begin()

    kill_often(world, points.SUBMIT, times, begin)
    world.rest()


@scene
def submit_while_answers_get_lost(world: World, times: int) -> None:
    """The same, and what lives to hear the answer may not hear it."""
    for answer in in_turn(world, LOST_ANSWERS, times):
        if not has_state(State.QUEUED):
            world.begin()
        world.fault("create", **answer)
        world.fault("list", "lag", seconds=0.5, times=None)
        world.work(world.random.choice(points.SUBMIT) if world.random.random() < 0.5 else None)
        world.work()
        world.answer()
        world.clear_faults()
    world.rest()


@scene
def looked_for(world: World, times: int) -> None:
    """Workers die while they look for what may have been created."""

    def begin() -> None:
        if not has_state(State.SENDING, State.UNKNOWN):
            world.begin(parts=1)
            created = world.random.random() < 0.7
            world.fault("create", "drop", when="after_effect" if created else "after_body")
            world.work(ANSWERED)
            world.clear_faults()

    kill_often(world, points.LOOK, times, begin)
    world.rest()


@scene
def given_up(world: World, times: int) -> None:
    """Somebody drops what was not found, and then it turns up."""
    for _ in range(times):
        batch = world.begin(parts=1)
        world.fault("create", "drop", when="after_body")
        part = wait_for_question(world, batch)
        deciding.drop(part, database_now())
        world.given_up.add(part.pk)
        # What reached the API takes effect only now.
        world.scope.create(body_of(part))
        world.reached["turned up late"] += wait_until_late(world, part)
    world.rest()


def wait_for_question(world: World, batch: Batch) -> MessageBatch:
    for _ in range(MOST_LOOKS):
        world.work()
        part = MessageBatch.objects.filter(batch=batch).first()
        if part is not None and part.needs_person:
            return part
        sleep(SOON)
    raise AssertionError(f"nobody was asked about {batch}")


def wait_until_late(world: World, part: MessageBatch) -> bool:
    for _ in range(MOST_LOOKS):
        world.work()
        part.refresh_from_db()
        if part.turned_up:
            return True
        sleep(SOON)
    world.violations.append(f"lost: what was dropped and created late was not seen: {part}")
    return False


@scene
def look_alikes(world: World, times: int) -> None:
    """Somebody else makes batches of the same size in the same moment."""
    for _ in range(times):
        batch = world.begin(parts=1)
        when = world.random.choice(["before", "after"])
        world.fault("create", "foreign_batches", batches=2, requests=batch.rows, when=when)
        come = world.random.choice(["after_effect", "in_body"])
        world.fault("create", "drop", when=come)
        world.work()
        world.clear_faults()
    world.rest()


@scene
def redirected(world: World, times: int) -> None:
    """The API sends workers elsewhere, where somebody writes down what comes."""
    for _ in range(times):
        world.begin(parts=1)
        here = f"{world.elsewhere.url}/{world.directory.name}/v1/messages/batches"
        world.fault("create", "redirect", location=here)
        world.work()
        world.clear_faults()
    world.rest()
    got = world.elsewhere.got(world.directory.name)
    world.violations += [f"elsewhere got {line}" for line in got]


@scene
def pauses(world: World, times: int) -> None:
    """A worker sleeps past its lease, another does the work, then the first wakes up."""
    for _ in range(times):
        world.begin(parts=1)
        point = world.random.choice(points.PAUSES)
        if point in points.COLLECT:
            world.work()
        world.pause_at(point)
    world.rest()


@scene
def pauses_before_the_wire(world: World, times: int) -> None:
    for _ in range(times):
        world.begin(parts=1)
        world.pause_at(BEFORE_THE_WIRE)
    world.rest()


@scene
def database_restored(world: World, times: int) -> None:
    """The database comes back from before the POST; the archive is as it was."""
    for _ in range(times):
        batch = world.begin(parts=1)
        world.work(CLAIMED)
        backup = world.databases.copy(world.name)
        world.databases.use(world.name)
        world.work(SAVED)
        broken, world.name = world.name, backup
        world.databases.use(backup)
        world.databases.drop(broken)
        part = MessageBatch.objects.get(batch=batch)
        world.reached["restored"] += part.state == State.QUEUED
        world.rest()


@scene
def collect(world: World, times: int) -> None:
    """Workers die while they fetch, prove and index."""

    def begin() -> None:
        if not MessageBatch.objects.filter(state__in=MessageBatch.OPEN).count() > 1:
            world.begin()
            world.begin()

    kill_often(world, points.COLLECT, times, begin)
    world.rest()


@scene
def collect_what_is_spoilt(world: World, times: int) -> None:
    """Results come short, doubled, foreign, or not at all, and workers die over them."""
    for results in in_turn(world, SPOILT_RESULTS, times):
        world.begin(parts=1)
        world.fault("results", **results)
        world.work()
        world.work(world.random.choice(points.COLLECT) if world.random.random() < 0.5 else None)
        world.clear_faults()
    world.rest()


@scene
def the_first_download_is_spoilt(world: World, times: int) -> None:
    """Good to read, and wrong: what comes later, alike each time, is what is stored."""
    for _ in range(times):
        batch = world.begin(parts=1)
        world.fault("results", "change", fields={"result": {"type": "expired"}})
        part = wait_for_state(world, batch, State.INCOMPLETE, State.STORED)
        world.reached["spoilt at first"] += part.state == State.INCOMPLETE
        world.work(world.random.choice(points.COLLECT) if world.random.random() < 0.5 else None)
        part = wait_for_state(world, batch, State.STORED, State.LOST)
        if part.state != State.STORED:
            world.violations.append(f"lost: {part} is {part.state}, its later answers are good")
    world.rest()


def wait_for_state(world: World, batch: Batch, *states: str) -> MessageBatch:
    for _ in range(MOST_LOOKS):
        world.work()
        part = MessageBatch.objects.filter(batch=batch).first()
        if part is not None and part.state in states:
            break
        sleep(SOON)
    assert part is not None
    return part


@scene
def counts_of_another_type(world: World, times: int) -> None:
    """The list says that all have expired; the file, and whoever asks for the one, say not."""
    for _ in range(times):
        batch = world.begin(parts=1)
        counts = {"processing": 0, "succeeded": 0, "errored": 0, "expired": batch.rows}
        world.fault("list", "change", fields={"request_counts": counts}, times=None)
        for _ in range(20):
            world.work()
            if not has_state(State.QUEUED, State.SUBMITTED):
                break
        world.clear_faults()
    world.rest()


@scene
def build(world: World, times: int) -> None:
    """Workers die while they write requests files."""

    def begin() -> None:
        if not Run.objects.filter(state="queued").exists():
            world.begin()

    kill_often(world, points.BUILD, times, begin)
    world.rest()


@scene
def cancel(world: World, times: int) -> None:
    """Somebody cancels what is under way, and workers die while they tell the API."""
    world.scope.change(batch_seconds=2)

    def begin() -> None:
        told = MessageBatch.objects.filter(cancel_initiated_at=None, state=State.SUBMITTED)
        if not told.exclude(processing_status="ended").exists():
            batch = world.begin()
            world.work()
            request_cancel(batch, database_now())

    kill_often(world, points.STOP, times, begin)
    world.rest()


@scene
def cancel_what_is_unknown(world: World, times: int) -> None:
    """A part is cancelled while nobody knows whether it is there; it acts when it is found."""
    world.scope.change(batch_seconds=2)
    for _ in range(times):
        batch = world.begin(parts=1)
        world.work(world.random.choice([one for one in points.SUBMIT if one.name > "K3"]))
        request_cancel(batch, database_now())
    world.rest()


@scene
def delete(world: World, times: int) -> None:
    """Batches are deleted here and there, and workers die over it."""

    def begin() -> None:
        if Batch.objects.filter(deleting_at__isnull=False).exists():
            return
        batch = world.begin(parts=2)
        world.rest()
        for part in MessageBatch.objects.filter(batch=batch):
            world.gone[part.nonce] = part.message_batch_id or ""
        deleted = request_delete(batch, database_now(), remote=True)
        assert deleted, f"{batch} may not be deleted"

    kill_often(world, points.REMOVE, times, begin)
    world.rest()
    left = set(world.gone.values()) - {one["id"] for one in world.scope.ledger()["deletes"]} - {""}
    world.violations += [f"{id} was to be deleted at the API and is there" for id in sorted(left)]


@scene
def retries(world: World, times: int) -> None:
    """What failed is sent again, two people press at once, and workers die over it."""
    world.scope.change(failure_rate=0.7)
    world.begin()
    world.rest()
    chosen = (*points.BUILD, *points.SUBMIT, *points.COLLECT)
    for number in range(times):
        for batch in Batch.objects.filter(state=Batch.State.ENDED):
            press_twice(world, batch, number)
        if not Run.objects.filter(state="queued").exists():
            world.begin()
        world.work(world.random.choice(chosen))
        world.work()
    world.rest()


def press_twice(world: World, batch: Batch, number: int) -> None:
    wanted = Selection(kind="retry", types=["errored", "expired", "canceled", "missing"])
    # An invalid request goes with another recipe only.
    recipe = {**batch.recipe, "max_tokens": 100 + number}
    wish = Wish(batch, wanted, recipe)
    rows = [found.row for found in wish.find()]
    if not rows:
        return
    before = batch.runs.count()
    for token in ("one", "two"):
        said = f"{len(rows)} rows are sent again."
        try:
            Batch.objects.filter(pk=batch.pk).update(recipe=recipe)
            retry(wish, database_now(), token=f"{token}-{number}", sentence=said)
        except CannotRetry:
            continue
    if batch.runs.count() != before + 1:
        world.violations.append(f"two who retried {batch} made {batch.runs.count() - before} runs")
    for row in rows:
        world.approved[batch.pk, row] += 1
    if Result.objects.filter(batch=batch, row__in=rows, type="succeeded", concern=None).filter(
        retried_in=None
    ):
        world.violations.append(f"a row of {batch} that succeeded is sent again")
    assert Request.objects.filter(batch=batch, row__in=rows).exists()


@scene
def storm(world: World, times: int) -> None:
    """Several workers at once, one of them run_batch, killed at random times, faults all over."""
    weather = (
        ("create", LOST_ANSWERS, 0.3),
        ("results", SPOILT_RESULTS, 0.3),
        ("list", ({"kind": "status", "code": 529}, {"kind": "drop"}), 0.1),
        ("retrieve", ({"kind": "status", "code": 500}, {"kind": "drop"}), 0.1),
    )
    for on, kinds, share in weather:
        for fault in kinds:
            odds = {"share": share / len(kinds), "seed": world.seed, "times": None}
            world.fault(on, **fault, **odds)
    for _ in range(times):
        if not MessageBatch.objects.filter(state__in=MessageBatch.OPEN).count() > 3:
            world.begin()
        world.hurry()
        batch = world.random.choice(list(Batch.objects.all()))
        alone = ("run_batch", "--resume", str(batch.pk))
        workers = [world.worker(), world.worker(), world.worker(*alone)]
        world.random.shuffle(workers)
        for worker in workers:
            if not worker.wait(world.random.uniform(0, 0.4)):
                worker.kill()
                world.kills += 1
                world.reached["at a random time"] += 1
        world.answer()
    world.clear_faults()
    world.rest()
