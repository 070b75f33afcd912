import hashlib
import os
import threading
from datetime import timedelta

import msgspec
import pytest
from django.db import IntegrityError, connection, transaction

from batches import archive, starting
from batches.limits import Limits
from batches.models import Batch, MessageBatch, Run, Upload
from batches.planning import Selection
from batches.problems import Problem
from batches.recipe import Recipe
from tests.batches.stage import make_batch, make_part, make_upload, make_workspace, now
from workspaces.models import ApiKey, Event

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]
RECIPE = Recipe(model="claude-haiku-4-5", prompt="Label {{text}}")


@pytest.fixture
def batch(workspace):
    return starting.draft(make_upload(workspace, ["a", "b", None]), "Themes", RECIPE)


def test_it_works(batch):
    at = now()
    run = starting.start(batch, Selection(kind="first", count=2, part_size=1), at)
    assert (run.state, run.due_at, run.requested_at) == ("queued", at, at)
    assert run.recipe == batch.recipe
    assert msgspec.convert(run.selection, Selection) == Selection("first", 2, part_size=1)
    assert (batch.state, batch.rows) == ("building", 3)
    assert Event.objects.get(verb="run").data == {"run": run.pk}


def test_two_clicks_are_one_run(batch):
    starting.start(batch, Selection(), now())
    for token in ("first", "second"):
        with pytest.raises(IntegrityError), transaction.atomic():
            starting.start(batch, Selection(), now(), token=token)
    assert Run.objects.count() == 1


def test_recipe_of_a_run_is_frozen(batch):
    run = starting.start(batch, Selection(), now())
    batch.recipe["prompt"] = "Another {{text}}"
    batch.save()
    run.refresh_from_db()
    assert run.recipe["prompt"] == "Label {{text}}"


def test_receive_copies_byte_for_byte(workspace, tmp_path):
    content = "text\r\nwörter\n".encode("cp1252") * 200_000
    path = tmp_path / ("x" * 240 + ".csv")
    path.write_bytes(content)
    upload = starting.receive(path, workspace, now(), encoding="cp1252")
    assert archive.received(upload.pk).read_bytes() == content
    assert (upload.size, upload.received) == (len(content), len(content))
    assert upload.sha256 == hashlib.sha256(content).hexdigest()
    assert (upload.state, upload.encoding, upload.filename) == ("queued", "cp1252", path.name)


def test_names_that_no_database_takes(workspace, tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.csv")
    path.write_text("text\n")
    upload = starting.receive(path, workspace, now(), encoding="x" * 30)
    batch = starting.draft(upload, path.stem, RECIPE)
    assert (upload.filename, batch.name) == ("caf\ufffd.csv", "caf\ufffd")


def test_discard_leaves_nothing(batch):
    path = archive.rows(batch.upload.pk, 1)
    starting.discard(batch)
    assert not path.parent.exists()
    assert not Batch.objects.exists()
    assert not Upload.objects.exists()


def test_discard_keeps_what_was_started(batch):
    starting.start(batch, Selection(), now())
    starting.discard(batch)
    assert Batch.objects.get().runs.count() == 1
    assert archive.rows(batch.upload.pk, 1).exists()


@pytest.mark.django_db(transaction=True)
def test_two_who_start_the_same_follow_each_other(batch):
    """The second looks for a twin only when the first is through."""
    looked = []

    def start_second():
        with starting.one_at_a_time(batch.workspace):
            looked.append(twin_of(batch))
        connection.close()

    second = threading.Thread(target=start_second)
    with starting.one_at_a_time(batch.workspace):
        second.start()
        second.join(0.2)
        starting.start(batch, Selection(), now())
    second.join()
    assert looked == [batch]


def twin_of(batch, recipe=RECIPE, workspace=None):
    upload = make_upload(workspace or batch.workspace, "ab")
    upload.sha256 = batch.upload.sha256
    upload.save()
    return starting.same_batch(upload, msgspec.to_builtins(recipe))


def test_same_bytes_and_recipe_are_noticed(batch):
    assert twin_of(batch) is None
    starting.start(batch, Selection(), now())
    assert twin_of(batch) == batch
    assert twin_of(batch, Recipe(model="claude-haiku-4-5", prompt="Else {{text}}")) is None
    assert twin_of(batch, workspace=make_workspace("other")) is None


@pytest.mark.parametrize("state", ["ended", "refused"])
def test_twin_of_an_ended_batch_may_be_sent(batch, state):
    Batch.objects.update(state=state)
    assert twin_of(batch) is None


def test_problems_of_file_and_recipe_come_by_row(workspace):
    upload = make_upload(workspace, ["a", " ", None, ""])
    upload.problems = {"total": 1, "first": []}
    with archive.writing(archive.problems(upload.pk, 1)) as file:
        file.write(msgspec.json.encode(Problem("it is broken.", row=4)) + b"\n")
    found = list(starting.find_problems(upload, RECIPE, Limits()))
    assert [problem.row for problem in found] == [3, 4, 5]
    assert [problem.row for problem in starting.find_problems(upload, None, Limits())] == [4]


def test_revive_lets_everything_be_tried_again(batch):
    refused = {"refused": "No.", "refused_type": "key", "crashes": 3}
    key = ApiKey.seal(batch.workspace, "claude", "sk-ant-1", **refused)
    other = make_part(make_batch(batch.workspace), 6, crashes=3)
    make_part(batch, crashes=3)
    run = starting.start(batch, Selection(), now())
    Run.objects.filter(pk=run.pk).update(crashes=3)
    starting.revive(batch)
    key.refresh_from_db()
    run.refresh_from_db()
    assert (key.refused, key.crashes, run.crashes) == ("", 0, 0)
    assert list(MessageBatch.objects.set_aside()) == [other]


def test_revive_sends_at_once_what_waits_for_a_key(batch):
    """The part waits for five minutes, because the key before this one was refused."""
    later = now() + timedelta(minutes=5)
    part = make_part(batch, 6, state="queued", due_at=later)
    sending = make_part(batch, 7, state="queued", due_at=later, lease_until=later)
    starting.revive(batch)
    assert list(MessageBatch.objects.filter(due_at__lte=now())) == [part]
    sending.refresh_from_db()
    assert sending.due_at == later
