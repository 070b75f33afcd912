import pytest
from django.core.management import CommandError, call_command

from batches import collecting
from batches.models import Batch, MessageBatch
from tests.batches.ended import body, collect, make_ended, unbounded
from tests.batches.stage import make_batch, now, result_lines
from workspaces.models import Event

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def part(api, workspace) -> MessageBatch:
    part = make_ended(make_batch(workspace))
    return collect(part, unbounded(result_lines(part)[:3]), api=api)


def test_it_works(capsys, api, part):
    call_command("collect_part", str(part.pk))
    said = f"Part 1 is collected again. Follow it: manage.py run_batch --resume {part.batch_id}\n"
    assert capsys.readouterr().err == said
    assert collect(part, body(result_lines(part)), api=api).state == "stored"
    assert Event.objects.get(verb="collect_again").actor is None


def test_stop_waiting(capsys, part):
    call_command("collect_part", str(part.pk), "--stop-waiting", "--confirm", "2")
    assert "Nobody waits for 2 answers of part 1 any more." in capsys.readouterr().err
    assert collecting.step(now())
    part.refresh_from_db()
    assert (part.state, Batch.objects.get().missing) == ("lost", 2)


@pytest.mark.parametrize("confirm", [(), ("--confirm", "5")])
def test_stop_waiting_takes_the_number_of_what_is_missing(part, confirm):
    with pytest.raises(CommandError, match=r"lacks 2 answers\. To do without: --confirm 2"):
        call_command("collect_part", str(part.pk), "--stop-waiting", *confirm)
    part.refresh_from_db()
    assert part.stop_waiting_at is None


def test_what_does_not_fit_is_said(part):
    MessageBatch.objects.update(state="queued")
    with pytest.raises(CommandError, match="Part 1 has no results to collect"):
        call_command("collect_part", str(part.pk))
    with pytest.raises(CommandError, match="it is not incomplete"):
        call_command("collect_part", str(part.pk), "--stop-waiting", "--confirm", "2")
    with pytest.raises(CommandError, match=r"There is no part 999\."):
        call_command("collect_part", "999")
