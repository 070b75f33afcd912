"""`manage.py adopt_batch`: what was made elsewhere, listed and adopted without a worker."""

import pytest
from django.core.management import CommandError, call_command

from batches.models import Batch, MessageBatch
from tests.batches.stage import SandboxScope, body_of, foreign_body, make_batch, make_part
from workspaces.models import Event, Workspace

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_works(
    at_sandbox: SandboxScope, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    at_sandbox.change(batch_seconds=600)
    first, second = (at_sandbox.create(foreign_body(size)) for size in (3, 4))
    call_command("adopt_batch", "acme")
    out, err = capsys.readouterr()
    lines = [line.split("\t") for line in out.splitlines()]
    assert [(line[0], line[2], line[3]) for line in lines] == [
        (second, "in_progress", "4"),
        (first, "in_progress", "3"),
    ]
    assert "2 batches were made elsewhere, among 2." in err
    call_command("adopt_batch", "acme", first)
    batch = Batch.objects.get()
    assert f"belongs to batch {batch.pk} now" in capsys.readouterr().err
    assert (batch.created_by, batch.rows) == (None, 3)
    call_command("adopt_batch", "acme")
    assert "1 batch was made elsewhere, among 2." in capsys.readouterr().err
    assert Event.objects.get(verb="adopted").actor is None


def test_a_part_of_a_restored_database(
    at_sandbox: SandboxScope, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    at_sandbox.change(batch_seconds=0)
    part = make_part(make_batch(workspace), 3)
    id = at_sandbox.create(body_of(part))
    call_command("adopt_batch", "acme")
    assert f"part 1 of batch {part.batch_id}" in capsys.readouterr().out
    call_command("adopt_batch", "acme", id)
    part.refresh_from_db()
    assert (part.state, part.adopt_id) == ("dropped", id)


def test_bad_input(at_sandbox: SandboxScope, workspace: Workspace) -> None:
    id = at_sandbox.create(foreign_body(1))
    for arguments, sentence in [
        (("nowhere",), "There is no workspace 'nowhere'"),
        (("acme", "msgbatch_x", id, id), "msgbatch_x is not on the list any more"),
        (("acme", id), "is not on the list any more"),
    ]:
        with pytest.raises(CommandError, match=sentence) as refused:
            call_command("adopt_batch", *arguments)
        assert refused.value.returncode == 2
    assert MessageBatch.objects.get().message_batch_id == id


def test_without_a_key(workspace: Workspace) -> None:
    with pytest.raises(
        CommandError, match=r"Nothing was listed\. The workspace Acme has no API key"
    ):
        call_command("adopt_batch", "acme")
