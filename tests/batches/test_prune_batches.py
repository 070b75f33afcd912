"""`manage.py prune_batches`."""

from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from batches.models import Batch, Upload
from tests.batches.operator import Operator
from tests.batches.stage import make_workspace, now
from tests.batches.test_pruning import age, kept, make_draft, make_old
from tests.processes import Sandbox, wait_until
from workspaces.models import Event, Workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace(db: None) -> Workspace:
    workspace = make_workspace()
    Workspace.objects.filter(pk=workspace.pk).update(retention_days=30)
    workspace.refresh_from_db()
    return workspace


def prune(*arguments: str) -> tuple[list[str], str]:
    """What it printed: the lines of stdout, and stderr."""
    out, err = StringIO(), StringIO()
    call_command("prune_batches", *arguments, stdout=out, stderr=err)
    return out.getvalue().splitlines(), err.getvalue()


def files() -> list[Path]:
    return sorted(path for path in Path(settings.DATA_DIR).rglob("*") if path.is_file())


def test_it_prints_what_goes_and_asks_for_it(workspace: Workspace) -> None:
    old, draft, fresh = make_old(workspace), make_draft(workspace), make_old(workspace, 2)
    lines, said = prune()
    assert [line.split()[:2] for line in lines] == [
        ["batch", str(old.pk)],
        ["draft", str(draft.pk)],
    ]
    assert lines[0].endswith("acme: Themes")
    assert said.startswith("2 lines, ")
    assert said.endswith("The workers remove the files.\n")
    assert kept() == [fresh]
    assert prune() == ([], "Nothing is older than it is kept.\n")


def test_a_dry_run_changes_nothing(workspace: Workspace) -> None:
    old, draft = make_old(workspace), make_draft(workspace)
    there, rows = files(), list(Batch.objects.values())
    upload = make_old(workspace, 2).upload
    assert upload is not None
    Batch.objects.filter(upload=upload).delete()
    Upload.objects.filter(pk=upload.pk).update(state="receiving", size=100, received=49)
    age("uploads", upload.pk, 8)
    directory = Path(settings.DATA_DIR) / "runs" / "900"
    directory.mkdir(parents=True)
    age("runs", 900, 2)
    lines, said = prune("--dry-run")
    kinds = [line.split()[0] for line in lines]
    assert kinds[:3] == ["batch", "draft", "upload"]
    assert kinds[3:].count("orphan") >= 1
    assert "stopped at 49 %" in lines[2]
    assert "3 lines" in said
    assert "Nothing was changed." in said
    assert "--orphans removes them. Not after a restore." in said
    assert set(there) <= set(files())
    assert directory.is_dir()
    assert list(Batch.objects.values()) == rows
    assert not Event.objects.filter(verb="deleted").exists()
    assert {old.pk, draft.pk} == {batch.pk for batch in kept()}


def test_only_one_workspace_where_one_is_named(workspace: Workspace) -> None:
    other = make_workspace("other")
    Workspace.objects.filter(pk=other.pk).update(retention_days=1)
    theirs = make_old(other)
    make_old(workspace)
    assert len(prune("--workspace", "acme")[0]) == 1
    assert kept() == [theirs]


def test_without_a_number_of_days_only_what_was_given_up_goes(workspace: Workspace) -> None:
    Workspace.objects.update(retention_days=None)
    batch, given_up = make_old(workspace, 400), make_draft(workspace, 400)
    Upload.objects.filter(batches=given_up).update(state="receiving")
    age("uploads", given_up.upload_id or 0, 400)
    lines, _ = prune()
    assert [line.split()[0] for line in lines] == ["upload"]
    assert kept() == [batch]


def test_orphans_go_only_where_that_is_said(workspace: Workspace) -> None:
    directory = Path(settings.DATA_DIR) / "message_batches" / "900"
    directory.mkdir(parents=True)
    (directory / "results-1.jsonl").write_bytes(b"x" * 2_000)
    age("message_batches", 900, 2)
    lines, said = prune()
    assert (lines, directory.exists()) == ([], True)
    assert "1 directory without a row, 2 KB: --orphans removes them." in said
    lines, said = prune("--orphans", "--dry-run")
    assert (len(lines), directory.exists()) == (1, True)
    lines, said = prune("--orphans")
    assert lines[0].startswith("orphan message_batches      900       2 KB")
    assert "Removed 1 directory without a row, 2 KB." in said
    assert not directory.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--workspace", "nowhere"], "There is no workspace 'nowhere'"),
        (["--workspace", "acme", "--orphans"], "leave --workspace out"),
    ],
)
def test_bad_options_are_refused_with_2(
    workspace: Workspace, arguments: list[str], said: str
) -> None:
    with pytest.raises(CommandError, match=said) as refused:
        prune(*arguments)
    assert refused.value.returncode == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.both_databases
def test_beside_a_running_worker(
    workspace: Workspace, sandbox: Sandbox, scope: str, tmp_path: Path
) -> None:
    """Both prune; the worker removes what the command asked for, and the files are gone."""
    operator = Operator(sandbox.url, scope, tmp_path)
    worker = operator.start("poll_batches", "--interval", "0.1")
    fresh = make_old(workspace, 2)
    for _ in range(4):
        make_old(workspace)
    try:
        done = operator.run("prune_batches")
        assert done.returncode == 0, done.stderr
        wait_until(lambda: Batch.objects.count() == 1 or worker.poll() is not None, 30)
    finally:
        worker.terminate()
        _, said = worker.communicate(timeout=20)
    assert kept() == [fresh], said
    assert "Traceback" not in said
    assert Event.objects.filter(verb="deleted", at__lte=now()).count() == 4
