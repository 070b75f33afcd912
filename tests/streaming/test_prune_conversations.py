"""`manage.py prune_conversations`, and what the worker prunes of conversations."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from leases.clock import database_now
from streaming import asking
from streaming.models import Conversation, Turn
from tests.cast import Cast
from tests.streaming.pages import ended
from tests.streaming.turns import make_turn
from workspaces import retention
from workspaces.models import Event, Workspace

DAY = timedelta(days=1)


@pytest.fixture
def workspace(cast: Cast) -> Workspace:
    Workspace.objects.filter(pk=cast.workspace.pk).update(retention_days=30)
    cast.workspace.refresh_from_db()
    return cast.workspace


def make_old(workspace: Workspace, days: int = 31) -> Conversation:
    """A conversation whose only turn is so many days old."""
    then = database_now() - days * DAY
    conversation = asking.begin(workspace, "Rivers", then, actor=None)
    ended(conversation, asked_at=then, ended_at=then)
    return conversation


def prune(*arguments: str) -> tuple[list[str], str]:
    out, err = StringIO(), StringIO()
    call_command("prune_conversations", *arguments, stdout=out, stderr=err)
    return out.getvalue().splitlines(), err.getvalue()


def test_what_is_older_goes_and_the_rest_stays(workspace: Workspace, cast: Cast) -> None:
    old, fresh, theirs = make_old(workspace), make_old(workspace, 29), make_old(cast.other, 400)
    lines, said = prune()
    assert [line.split()[:2] for line in lines] == [["conversation", str(old.pk)]]
    assert said == "1 conversation deleted.\n"
    assert set(Conversation.objects.all()) == {fresh, theirs}
    assert Turn.objects.count() == 2
    event = Event.objects.get()
    sentence = f"#{old.pk} Rivers was deleted, as results are kept for 30 days: 1 prompt."
    assert (event.sentence, event.actor) == (sentence, None)
    assert prune() == ([], "Nothing is older than it is kept.\n")


def test_a_dry_run_changes_nothing(workspace: Workspace) -> None:
    make_old(workspace)
    lines, said = prune("--dry-run")
    assert (len(lines), said) == (1, "1 conversation. Nothing was changed.\n")
    assert Conversation.objects.count() == 1
    assert not Event.objects.exists()


def test_what_is_being_written_stays_however_old(workspace: Workspace) -> None:
    conversation = make_old(workspace)
    make_turn(conversation)
    then = database_now() - 31 * DAY
    conversation.turns.update(asked_at=then)
    Conversation.objects.update(updated_at=then)
    assert prune()[0] == []
    assert Conversation.objects.exists()


def test_a_question_of_late_keeps_the_whole_conversation(workspace: Workspace) -> None:
    conversation = make_old(workspace)
    ended(conversation, asked_at=database_now() - DAY)
    assert prune()[0] == []
    assert Conversation.objects.exists()


def test_without_a_number_of_days_everything_stays(workspace: Workspace) -> None:
    make_old(workspace, 4000)
    Workspace.objects.update(retention_days=None)
    assert prune()[0] == []
    assert Conversation.objects.exists()


def test_only_one_workspace_where_one_is_named(workspace: Workspace, cast: Cast) -> None:
    Workspace.objects.update(retention_days=30)
    make_old(workspace)
    theirs = make_old(cast.other)
    assert len(prune("--workspace", "acme")[0]) == 1
    assert list(Conversation.objects.all()) == [theirs]
    with pytest.raises(CommandError) as refused:
        prune("--workspace", "nowhere")
    assert refused.value.returncode == 2


def test_the_worker_prunes_them_with_the_rest(workspace: Workspace) -> None:
    make_old(workspace)
    assert retention.find_older(workspace, 30, database_now()) == ["1 conversation"]
    assert retention.prune(workspace, database_now()) == 1
    assert not Conversation.objects.exists()
