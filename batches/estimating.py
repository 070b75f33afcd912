"""A draft is looked at before it is paid for: all its rows rendered once, ten of them counted.

The page that asks for it writes a row; a worker renders what would be sent, keeps what it finds
and lets the API count the tokens of ten requests, which costs nothing. A draft that was changed
meanwhile has another digest, and what was begun for the old one is dropped.
"""

import hashlib
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

import msgspec
from django.conf import settings

from batches import archive
from batches.calling import (
    client_for,
    live_key,
    remember_account,
    remember_refusal,
    why_no_key,
)
from batches.drafts import limits_of
from batches.findings import Finder, Findings
from batches.limits import ReadyRenderer
from batches.models import Batch, Estimate, Upload
from batches.problems import Problem
from batches.recipe import Recipe, Rendered, Renderer, check, digest
from claude_api import ClaudeError, Client, InvalidRequest, NotFound, TooLarge
from leases.clock import database_now
from leases.renewing import LeaseLost, Renewal, work_on

State = Estimate.State
PROGRESS_EVERY = 20_000
COUNT_AGAIN = timedelta(seconds=30)
# Counting is worth so many seconds, no more: the same worker polls and collects.
LONGEST_COUNT = 20.0
# What is wrong with the request itself is not mended by asking again.
FINAL = InvalidRequest | NotFound | TooLarge


def step(at: datetime, only: Batch | None = None) -> bool:
    """Estimate one draft that somebody looks at; True if there was one."""
    estimates = Estimate.objects.all()
    if only is not None:
        estimates = estimates.filter(batch=only)
    return work_on(estimates, at, partial(estimate, at=at))


def ask(batch: Batch, at: datetime) -> Estimate:
    """The estimate of the draft as it is now; a worker makes it where there is none."""
    return Estimate.ask(batch, digest_of(batch), at)


def digest_of(batch: Batch) -> str:
    """Equal for two drafts that would send the same requests with the same key."""
    upload, key = batch.upload, batch.workspace.live_key()
    parts = [
        upload.pk if upload else 0,
        upload.rows_fence if upload else 0,
        digest(batch.recipe),
        # Another key may know other models, and may count what the one before could not.
        key.pk if key else 0,
    ]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def estimate(row: Estimate, renewal: Renewal, at: datetime) -> None:
    batch = Batch.objects.select_related("upload", "workspace").get(pk=row.batch_id)
    now = digest_of(batch)
    if row.digest != now:
        row.begin_anew(now, at)
        return
    if row.state == State.QUEUED:
        problems = recipe_problems(batch)
        if problems:
            row.release(None, state=State.REFUSED, reason=" ".join(problems))
            return
        findings = find(row, batch, renewal)
        if not findings.rows:
            row.release(None, state=State.READY, findings=msgspec.to_builtins(findings))
            return
    else:
        findings = msgspec.convert(row.findings, Findings)
    due_at, reason = count_tokens(batch, findings, renewal, at)
    found = msgspec.to_builtins(findings)
    row.release(due_at, state=State.READY, rows=findings.rows, findings=found, reason=reason)


def recipe_problems(batch: Batch) -> list[str]:
    """What keeps the draft from being rendered at all, as sentences."""
    upload = batch.upload
    if upload is None or upload.state != Upload.State.READY:
        return ["The file is not read."]
    if upload.kind == Upload.Kind.REQUESTS:
        return []
    recipe = read_recipe(batch)
    if recipe is None:
        return ["The recipe is not finished."]
    problems = check(
        recipe,
        upload.columns,
        api_version=settings.CLAUDE_API_VERSION,
        most_tokens=limits_of(batch.workspace).most_tokens(recipe.model),
    )
    return [problem.sentence() for problem in problems]


def read_recipe(batch: Batch) -> Recipe | None:
    """The draft's recipe; None where it is none yet, and for ready requests."""
    try:
        return msgspec.convert(batch.recipe, Recipe)
    except msgspec.ValidationError:
        return None


def renderer(batch: Batch) -> Renderer | ReadyRenderer:
    recipe = read_recipe(batch)
    if recipe is None or batch.upload is None:
        return ReadyRenderer(limits_of(batch.workspace))
    return Renderer(recipe, batch.upload.columns)


def rows_of(batch: Batch) -> Iterator[archive.Row]:
    upload = batch.upload
    if upload is None or upload.rows_fence is None:
        raise ValueError(f"{batch} has no upload whose rows are read")
    return archive.iterate_rows(upload.pk, upload.rows_fence)


def find(row: Estimate, batch: Batch, renewal: Renewal) -> Findings:
    """Render all rows once, saying now and then how far that is."""
    finder, render = Finder(), renderer(batch).render
    for number, one in enumerate(rows_of(batch), 1):
        rendered = [Problem(one.reason)] if one.reason else render(one)
        if isinstance(rendered, Rendered):
            finder.take(one.number, rendered)
        else:
            finder.leave_out(rendered)
        if number % PROGRESS_EVERY == 0:
            say_progress(row, renewal, number)
    return finder.findings


def say_progress(row: Estimate, renewal: Renewal, number: int) -> None:
    if renewal.lost.is_set() or not row.mine().update(rows=number):
        raise LeaseLost(f"{row} was asked for anew")


def count_tokens(
    batch: Batch, findings: Findings, renewal: Renewal, at: datetime
) -> tuple[datetime | None, str]:
    """Let the API count some of the requests; when to try again, and why, where it could not."""
    key = live_key(batch.workspace)
    if key is None:
        # With another key the digest is another one; an address may be given to this one.
        mendable = batch.workspace.live_key() is not None
        return at + COUNT_AGAIN if mendable else None, why_no_key(batch.workspace)
    if key.paused(at):
        return key.paused_until, key.refused or "The API asked to be left alone for a while."
    renewal.check()
    with client_for(key) as client:
        try:
            count_sample(batch, findings, client)
        except ClaudeError as error:
            findings.forget_counts()
            pause = remember_refusal(key, error, at)
            again = None if isinstance(error, FINAL) else at + max(pause, COUNT_AGAIN)
            return again, f"The API did not count the tokens: {error}"
        remember_account(key, client, database_now())
    return None, ""


def count_sample(batch: Batch, findings: Findings, client: Client) -> None:
    deadline = time.monotonic() + LONGEST_COUNT
    for group, sampled in list(findings.to_count()):
        if time.monotonic() > deadline and group.counted:
            continue
        rendered = render_row(batch, sampled.row)
        if rendered is not None:
            group.counted.append((len(rendered.params), client.count_tokens(rendered.params)))


def render_row(batch: Batch, number: int) -> Rendered | None:
    """One row as it would be sent; None where it would not be."""
    upload = batch.upload
    if upload is None or upload.rows_fence is None:
        return None
    row = archive.read_row(upload.pk, upload.rows_fence, number)
    rendered = renderer(batch).render(row) if row and not row.reason else None
    return rendered if isinstance(rendered, Rendered) else None
