"""From a file on this machine and a recipe to a Batch with a queued Run."""

import hashlib
import heapq
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
from django.db import transaction

from batches import archive
from batches.calling import forgive
from batches.deciding import start_all_again
from batches.limits import Limits, ReadyRenderer
from batches.models import Batch, MessageBatch, Run, Upload
from batches.planning import Selection
from batches.problems import Problem
from batches.recipe import Recipe, Renderer, digest
from claude_api.tolerant import clean
from leases.clock import database_now
from workspaces.models import Workspace

if TYPE_CHECKING:
    from django.contrib.auth.models import User

CHUNK_SIZE = 1 << 20


def receive(
    path: Path,
    workspace: Workspace,
    at: datetime,
    encoding: str = "",
    *,
    actor: "User | None" = None,
) -> Upload:
    """Copy a file into the archive and queue it to be parsed."""
    upload = Upload.objects.create(
        workspace=workspace,
        created_by=actor,
        filename=clean(path.name[:255]),
        token=secrets.token_urlsafe(16),
        size=path.stat().st_size,
        encoding=encoding[:20],
    )
    digest = hashlib.sha256()
    with open(path, "rb") as source, archive.writing(archive.received(upload.pk)) as target:
        while chunk := source.read(CHUNK_SIZE):
            digest.update(chunk)
            target.write(chunk)
            upload.received += len(chunk)
    upload.size, upload.sha256 = upload.received, digest.hexdigest()
    upload.state, upload.due_at = Upload.State.QUEUED, at
    upload.save()
    return upload


def draft(
    upload: Upload,
    name: str,
    recipe: Recipe | None,
    *,
    like: Batch | None = None,
    **fields: Any,
) -> Batch:
    """A Batch of which nothing is sent before it has a Run; `like` gives it its recipe."""
    if like is not None:
        fields |= {"recipe": like.recipe, "typed": like.typed}
    elif recipe is not None:
        fields["recipe"] = msgspec.to_builtins(recipe)
    return Batch.objects.create(
        workspace_id=upload.workspace_id, upload=upload, name=clean(name[:200]), **fields
    )


def discard(batch: Batch) -> None:
    """Remove a draft that never had a Run, with its upload; what has one stays."""
    if batch.runs.exists():
        return
    upload = batch.upload
    batch.delete()
    if upload is not None:
        discard_upload(upload)


def discard_upload(upload: Upload) -> None:
    """Remove an upload and its files, and what it was to replace, unless a Batch uses them.

    Not inside a transaction, which could bring back the row but not its files.
    """
    with transaction.atomic():
        held = Upload.objects.select_for_update().filter(pk=upload.pk).first()
        if held is None or held.batches.exists() or held.replaced_by.exists():
            return
        replaced = held.replaces
        held.delete()
    with suppress(FileNotFoundError):
        archive.delete("uploads", upload.pk)
    if replaced is not None:
        discard_upload(replaced)


@contextmanager
def one_at_a_time(workspace: Workspace) -> Iterator[None]:
    """A transaction in which nobody else starts a Batch of the workspace.

    Two who start the same file at once follow each other, and the second finds the first.
    """
    with transaction.atomic():
        # Not against what only refers to the workspace: events, and files that arrive.
        Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk)
        yield


def same_batch(
    upload: Upload, recipe: dict[str, object], besides: Batch | None = None
) -> Batch | None:
    """A Batch of the workspace that sends these bytes with this recipe and has not ended."""
    running = (
        Batch.objects.filter(workspace_id=upload.workspace_id, upload__sha256=upload.sha256)
        .exclude(state__in=[Batch.State.DRAFT, Batch.State.ENDED, Batch.State.REFUSED])
        .exclude(pk=besides.pk if besides else 0)
        .order_by("-pk")
    )
    wanted = digest(recipe)
    return next((batch for batch in running if digest(batch.recipe) == wanted), None)


def find_problems(upload: Upload, recipe: Recipe | None, limits: Limits) -> Iterator[Problem]:
    """Everything that keeps rows from being sent, by row: of the file, then of the request."""
    fence = upload.rows_fence
    parsed = open_problems(upload)
    renderer = find_renderer(upload, recipe, limits)
    if fence is None or renderer is None:
        yield from parsed
        return
    rows = (row for row in archive.iterate_rows(upload.pk, fence) if not row.reason)
    rendered = (
        problem
        for row in rows
        if isinstance(found := renderer.render(row), list)
        for problem in found
    )
    yield from heapq.merge(parsed, rendered, key=lambda problem: problem.row)


def find_renderer(
    upload: Upload, recipe: Recipe | None, limits: Limits
) -> Renderer | ReadyRenderer | None:
    """What would render the rows; None for a refused file, and for a table without a recipe."""
    if upload.state != Upload.State.READY:
        return None
    if upload.kind == Upload.Kind.REQUESTS:
        return ReadyRenderer(limits)
    return Renderer(recipe, upload.columns) if recipe else None


def open_problems(upload: Upload) -> Iterator[Problem]:
    """What parsing found, all of it, in the order of the file, which is open from now on."""
    if not upload.problem_count:
        return iter(())
    path = archive.problems(upload.pk, upload.rows_fence or upload.fence)
    return read_problems(open(path, "rb"))


def read_problems(file: BinaryIO) -> Iterator[Problem]:
    decoder = msgspec.json.Decoder(Problem)
    with file:
        for line in file:
            yield decoder.decode(line)


def start(
    batch: Batch,
    selection: Selection,
    at: datetime,
    *,
    token: str = "first",
    actor: "User | None" = None,
    estimate: dict[str, Any] | None = None,
    sentence: str = "A run was started.",
) -> Run:
    """One press of the button: freeze the recipe and what it may cost, and queue the Run."""
    upload = batch.upload
    with transaction.atomic():
        Batch.hold(batch.pk)
        run = Run.objects.create(
            batch=batch,
            token=token,
            recipe=batch.recipe,
            selection=msgspec.to_builtins(selection),
            requested_by=actor,
            requested_at=at,
            estimate=estimate,
            state=Run.State.QUEUED,
            due_at=at,
        )
        Batch.objects.filter(pk=batch.pk).update(rows=upload.rows if upload else 0)
        batch.record("run", sentence, actor=actor, at=at, run=run.pk)
        batch.recount()
    batch.refresh_from_db()
    return run


def revive(batch: Batch) -> None:
    """A person says to try again what was set aside or refused."""
    at = database_now()
    start_all_again(batch, at)
    batch.message_batches.free(at).filter(state=MessageBatch.State.QUEUED).update(due_at=at)
    key = batch.workspace.live_key()
    if key is not None:
        forgive(key)
