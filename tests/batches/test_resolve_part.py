"""`manage.py resolve_part`: a person's answer to an unknown outcome."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from batches import building, parsing, starting
from batches.models import Batch, MessageBatch, Request
from batches.planning import Selection
from tests.batches.operator import Operator
from tests.processes import Sandbox
from workspaces.models import ApiKey, Workspace

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
State = MessageBatch.State


@pytest.fixture
def api(sandbox: Sandbox, scope: str, settings, tmp_path: Path) -> Operator:
    settings.SANDBOX_URL = sandbox.url
    return Operator(sandbox.url, scope, tmp_path)


@pytest.fixture
def part(api: Operator, tmp_path: Path) -> MessageBatch:
    """A part of three requests of which nobody knows whether it was created."""
    path = tmp_path / "ready.jsonl"
    line = '{"custom_id":"%d","params":{"model":"claude-x","max_tokens":9,"messages":[]}}\n'
    content = '[{"role":"user","content":"Hi"}]'
    path.write_text("".join(line.replace("[]", content) % number for number in range(3)))
    workspace = Workspace.objects.create(name="Demo", slug="demo")
    ApiKey.seal(workspace, ApiKey.Api.SANDBOX, api.key)
    at = timezone.now()
    batch = starting.draft(starting.receive(path, workspace, at), "ready", None)
    assert parsing.step(at, batch)
    batch.refresh_from_db()
    starting.start(batch, Selection(), at)
    assert building.step(timezone.now(), batch)
    part = batch.message_batches.get()
    MessageBatch.objects.filter(pk=part.pk).update(
        state=State.UNKNOWN, api="sandbox", unknown_at=at, sent_at=at, settled_at=at
    )
    part.refresh_from_db()
    return part


def resolve(part: MessageBatch, *answer: object) -> None:
    call_command("resolve_part", part.pk, *map(str, answer))
    part.refresh_from_db()


def test_adopt_makes_the_batch_at_the_api_its_own(part: MessageBatch, api: Operator) -> None:
    found = api.create(["2_abcdefgh", "3_abcdefgh", "4_abcdefgh"])
    resolve(part, "adopt", found)
    assert (part.state, part.message_batch_id) == (State.SUBMITTED, found)
    assert part.processing_status in ("in_progress", "ended")


def test_adopt_refuses_another_size(part: MessageBatch, api: Operator) -> None:
    found = api.create(["2_abcdefgh"])
    with pytest.raises(CommandError, match="holds 1 request, part 1 has 3"):
        resolve(part, "adopt", found)


def test_adopt_refuses_what_the_api_does_not_know(part: MessageBatch) -> None:
    with pytest.raises(CommandError, match="Nothing was changed: The API answers 404"):
        resolve(part, "adopt", "msgbatch_01nothere")
    for typed in ("../../v1/models", "garbage"):
        with pytest.raises(CommandError, match="it begins with msgbatch_"):
            resolve(part, "adopt", typed)


def test_send_again_makes_a_new_part_of_the_same_rows(part: MessageBatch) -> None:
    resolve(part, "send-again", "--confirm", 3)
    assert part.state == State.DROPPED
    assert building.step(timezone.now(), part.batch)
    new = part.replaced_by
    assert (new.part, new.size, new.state) == (part.part, 3, State.QUEUED)
    assert new.nonce != part.nonce
    rows = [list(Request.objects.of(pk).values_list("row", flat=True)) for pk in (part.pk, new.pk)]
    assert rows[0] == rows[1] == [1, 2, 3]
    batch = Batch.objects.get()
    assert (batch.sent, batch.not_sent, batch.parts) == (3, 0, 1)


def test_send_again_needs_the_number_of_requests(part: MessageBatch) -> None:
    with pytest.raises(CommandError, match="has 3 requests"):
        resolve(part, "send-again", "--confirm", 4)
    assert MessageBatch.objects.get().state == State.UNKNOWN


def test_send_again_happens_once(part: MessageBatch) -> None:
    resolve(part, "send-again", "--confirm", 3)
    with pytest.raises(CommandError, match="was sent again already"):
        resolve(part, "send-again", "--confirm", 3)
    assert part.batch.runs.count() == 2


def test_drop_sends_nothing(part: MessageBatch, api: Operator) -> None:
    resolve(part, "drop")
    assert part.state == State.DROPPED
    batch = Batch.objects.get()
    assert (batch.state, batch.not_sent, batch.sent) == (Batch.State.ENDED, 3, 0)
    assert api.creates() == []


def test_a_part_that_is_not_unknown_is_left_alone(part: MessageBatch) -> None:
    MessageBatch.objects.filter(pk=part.pk).update(state=State.STORED)
    for answer in (["drop"], ["adopt", "msgbatch_01x"], ["send-again", "--confirm", "3"]):
        with pytest.raises(CommandError, match="is stored"):
            resolve(part, *answer)


def test_a_refused_adoption_gives_the_part_back(part: MessageBatch, api: Operator) -> None:
    MessageBatch.objects.filter(pk=part.pk).update(due_at=timezone.now())
    found = api.create(["2_abcdefgh"])
    with pytest.raises(CommandError, match="holds 1 request"):
        resolve(part, "adopt", found)
    assert MessageBatch.objects.claim("worker", timezone.now()) == part


def test_adopt_and_cancel(part: MessageBatch, api: Operator) -> None:
    resolve(part, "adopt", api.create(["2_abcdefgh", "3_abcdefgh", "4_abcdefgh"]), "--cancel")
    assert part.cancel_requested_at is not None
    assert part.state == State.SUBMITTED


def test_leave_what_turned_up(part: MessageBatch) -> None:
    resolve(part, "drop")
    with pytest.raises(CommandError, match="Nothing of part 1 has turned up"):
        resolve(part, "leave")
    found = [{"id": "msgbatch_1", "ours": True, "processing_status": "ended"}]
    MessageBatch.objects.filter(pk=part.pk).update(candidates=found)
    part.refresh_from_db()
    with transaction.atomic():
        part.batch.recount()
    assert Batch.objects.get().state == Batch.State.NEEDS_YOU
    resolve(part, "leave")
    assert Batch.objects.get().state == Batch.State.ENDED


def test_start_again_what_was_set_aside(part: MessageBatch) -> None:
    with pytest.raises(CommandError, match="Part 1 is not set aside"):
        resolve(part, "start-again")
    MessageBatch.objects.filter(pk=part.pk).update(crashes=3, due_at=None)
    resolve(part, "start-again")
    assert MessageBatch.objects.claim("worker", timezone.now()) == part


def test_an_unknown_part_number(db: None) -> None:
    with pytest.raises(CommandError, match="There is no part 4711"):
        call_command("resolve_part", "4711", "drop")
