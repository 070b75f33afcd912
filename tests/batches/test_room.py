import os
import subprocess
import sys

import pytest

from batches import archive, building, submitting
from batches.models import MessageBatch, Request, Run
from batches.progress import delays
from batches.room import why_no_room
from tests.batches.ended import RESULTS, body, collect, make_ended
from tests.batches.stage import make_batch, make_part, now, remote, result_line, result_lines
from tests.processes import ROOT
from tests.scripted_api import BATCHES, Reply, page
from workspaces.models import Event

pytestmark = pytest.mark.django_db(transaction=True)
STEP = """
import resource, sys
import django; django.setup()
from batches import {stage}
from leases.clock import database_now
most = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
print({stage}.step(database_now()))
"""


def step_on_a_full_disk(stage: str, most: int, environment: dict[str, str]) -> str:
    """One step in a process whose files may not grow above so many bytes; what it says."""
    done = subprocess.run(
        [sys.executable, "-c", STEP.format(stage=stage), str(most)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def environment(settings) -> dict[str, str]:
    return {"SANDBOX_URL": settings.SANDBOX_URL}


def test_it_works(settings):
    assert why_no_room() == ""
    settings.FREE_DISK = 10**18
    assert why_no_room().startswith("The disk is nearly full: ")


def test_f37_no_room_for_results_is_no_crash_and_ends_by_itself(api, workspace, environment):
    part = make_ended(make_batch(workspace))
    lines = [result_line(part.custom_id(2), text="x" * 12_000_000), *result_lines(part)[:-1]]
    api.plan("GET", RESULTS, Reply(b"".join(lines)))
    assert step_on_a_full_disk("collecting", 10_000_000, environment) == "True\n"
    part.refresh_from_db()
    assert (part.state, part.crashes, part.lease_until) == ("submitted", 0, None)
    assert part.reason.startswith("The disk is full: ")
    assert part.reason.endswith("are free. Make room to go on.")
    assert str(next(iter(delays(part.batch)))).startswith("Part 1 waits. The disk is full: ")
    # Nothing is left of what was begun.
    assert list(archive.created(part.pk).parent.glob(".*")) == []
    assert collect(part, body(lines), api=api, at=part.due_at).state == "stored"


def test_f37_no_room_for_requests_builds_nothing(api, workspace, environment):
    batch = make_batch(workspace, ["x" * 6_000_000, "y" * 6_000_000])
    recipe = batch.recipe | {"prompt": "{{text}}"}
    run = Run.objects.create(batch=batch, token="t", recipe=recipe, state="queued", due_at=now())
    assert step_on_a_full_disk("building", 10_000_000, environment) == "True\n"
    run.refresh_from_db()
    assert (run.state, run.crashes, run.lease_until) == ("queued", 0, None)
    assert run.reason.startswith("The disk is full: ")
    assert not MessageBatch.objects.visible().exists()
    assert building.step(run.due_at)
    assert (MessageBatch.objects.get().state, Request.objects.count()) == ("queued", 2)


def test_f37_below_the_room_that_is_kept_nothing_is_sent(api, workspace, settings):
    part = make_part(make_batch(workspace))
    settings.FREE_DISK = 10**18
    assert submitting.step(now())
    part.refresh_from_db()
    assert (part.state, api.connections) == ("queued", 0)
    assert part.reason.startswith("The disk is nearly full: ")
    assert not Event.objects.exists()


@pytest.mark.logs_errors
def test_f37_where_the_answer_to_the_post_cannot_be_written_the_database_keeps_the_id(
    api, workspace
):
    part = make_part(make_batch(workspace))

    def answer(request):
        archive.created(part.pk).mkdir()
        return Reply(remote("msgbatch_1"))

    api.plan("GET", BATCHES, page())
    api.plan("POST", BATCHES, answer)
    assert submitting.step(now())
    part.refresh_from_db()
    assert (part.state, part.message_batch_id) == ("submitted", "msgbatch_1")
