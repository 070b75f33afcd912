"""`manage.py retry_batch`."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from batches import building
from tests.batches.answers import BUSY, CUT, EXPIRED, WRONG, answered
from tests.batches.build import make_workspace, succeeded
from tests.batches.stage import now, rows_of
from workspaces.models import ApiKey, Event

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch():
    ApiKey.seal(make_workspace(), "claude", "sk-ant-one-two")
    batch = answered({2: succeeded("fine"), 3: BUSY, 4: EXPIRED, 5: WRONG, 6: CUT})
    batch.recipe = {**batch.recipe, "max_tokens": 300}
    batch.save()
    batch.runs.update(recipe=batch.recipe)
    return batch


def retry(batch, *options):
    call_command("retry_batch", str(batch.pk), *options)


def test_it_queues_what_was_asked_for(batch, capsys):
    retry(batch, "--type", "expired", "--error", "overloaded_error", "--yes")
    said = capsys.readouterr().err
    assert "1 expired\n" in said
    assert "Retry 2 rows, cost not known: queued." in said
    assert building.step(now(), only=batch)
    assert rows_of(batch.message_batches.get(state="queued")) == [3, 4]
    assert Event.objects.get(verb="run").sentence.startswith("Somebody at a shell pressed Retry 2")


def test_a_dry_run_sends_nothing(batch, capsys):
    retry(batch, "--row", "4", "--row", "2", "--dry-run")
    said = capsys.readouterr().err
    assert said == (
        "1 expired\n1 row stays as it is: it succeeded, and is not sent again in this batch.\n"
    )
    assert batch.runs.count() == 1


def test_max_tokens_are_raised_only_where_it_is_said(batch, capsys):
    with pytest.raises(CommandError, match="Edit the recipe or raise max tokens"):
        retry(batch, "--error", "max_tokens", "--yes")
    retry(batch, "--error", "max_tokens", "--max-tokens", "900", "--yes")
    assert "1 answer billed once more." in capsys.readouterr().err
    assert batch.runs.get(state="queued").recipe["max_tokens"] == 900


@pytest.mark.parametrize(("typed", "runs"), [("y\n", 2), ("n\n", 1), ("\n", 1), ("", 1)])
def test_it_asks_before(batch, monkeypatch, typed, runs):
    monkeypatch.setattr("sys.stdin", StringIO(typed))
    if runs == 1:
        with pytest.raises(CommandError, match=r"Nothing was sent\."):
            retry(batch, "--type", "expired")
    else:
        retry(batch, "--type", "expired")
    assert batch.runs.count() == runs


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "Say which rows"),
        (["--row", "2"], "No row is left to send."),
        (["--row", "999999"], "No row is left to send."),
        (["--row", "9" * 20], f"There is no row {'9' * 20}."),
        (["--row", "-1"], "There is no row -1."),
        (["--error", "max_tokens", "--max-tokens", "-1"], "is not a whole number"),
        (["--error", "max_tokens", "--max-tokens", "20"], "cut off at 300 tokens"),
    ],
)
def test_what_cannot_be_is_refused(batch, options, sentence):
    with pytest.raises(CommandError, match=sentence) as refusal:
        retry(batch, *options, "--yes")
    assert refusal.value.returncode == 2
    assert batch.runs.count() == 1


def test_an_unknown_batch(db):
    with pytest.raises(CommandError, match="There is no batch 4711"):
        call_command("retry_batch", "4711", "--type", "expired")
