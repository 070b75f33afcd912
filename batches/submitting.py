"""One queued MessageBatch becomes one POST: its id, a refusal, or an honest "unknown".

Money is spent here and the API has no idempotency key, so the intent is committed before the
wire, the POST is made once, and the answer lies in created.json before the database hears of
it. What is not known stays `unknown`: reconciling looks for it, nothing sends it again.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
from django.db import IntegrityError

from batches import archive
from batches.calling import (
    LOOK_AGAIN_AT_REFUSED,
    NO_KEY_PAUSE,
    REFUSALS,
    client_for,
    live_key,
    remember_account,
    remember_refusal,
    why_no_key,
)
from batches.models import Batch, MessageBatch
from batches.room import NO_ROOM_PAUSE, why_no_room
from batches.words import say_size
from claude_api import (
    ApiError,
    CertificateRefused,
    ClaudeError,
    Client,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Redirected,
    TooLarge,
)
from claude_api import MessageBatch as RemoteBatch
from leases.clock import database_now
from leases.renewing import Renewal, work_on
from workspaces.models import ApiKey

State = MessageBatch.State
SAME_SIZE_PAUSE = timedelta(seconds=2)
FIRST_LOOK = timedelta(seconds=1)
PREFIX, SUFFIX = b'{"requests":[', b"]}"
logger = logging.getLogger(__name__)
CHUNK_SIZE = 1 << 20


class Created(msgspec.Struct, frozen=True):
    """created.json: what the API answered to the one POST of a part."""

    nonce: str
    message_batch: RemoteBatch
    request_id: str


def step(at: datetime, only: Batch | None = None) -> bool:
    """Send one queued part whose time has come; True if there was one."""
    parts = MessageBatch.objects.filter(state=State.QUEUED, cancel_requested_at=None)
    return work_on(parts.within(only), at, partial(submit, at=at))


def submit(part: MessageBatch, renewal: Renewal, at: datetime) -> None:
    key = live_key(part.workspace)
    if key is None:
        part.release(at + NO_KEY_PAUSE, reason=why_no_key(part.workspace))
    elif key.spend_limited:
        part.release(at + LOOK_AGAIN_AT_REFUSED, reason=key.refused)
    elif key.paused(at):
        part.release(key.paused_until, reason=key.refused or part.reason)
    elif created := read_created(part):
        recover(part, key, created)
    elif fault := find_damage(part):
        drop_damaged(part, fault)
    elif why := why_no_room():
        part.release(at + NO_ROOM_PAUSE, reason=why)
    else:
        with client_for(key) as client:
            try:
                head = client.list_batches(limit=1).first_id or ""
            except ClaudeError as error:
                postpone(part, key, error, at)
                return
            remember_account(key, client, at)
            if intend(part, key, head):
                post(part, key, client, renewal)


def recover(part: MessageBatch, key: ApiKey, created: Created) -> None:
    """The archive knows an answer that the database, restored from an older day, does not."""
    if intend(part, key):
        save_created(part, created)


def requests_path(part: MessageBatch) -> Path:
    return archive.requests(part.pk, part.requests_fence or 0)


def find_damage(part: MessageBatch) -> str:
    """In what the requests file is not the one that was built; empty where it is."""
    length = archive.size(requests_path(part))
    if length != part.bytes:
        return f"has {length:,} bytes where {part.bytes:,} were written"
    if part.sha256:
        with open(requests_path(part), "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != part.sha256:
            return f"has the digest {found[:12]}… where {part.sha256[:12]}… was written"
    return ""


def drop_damaged(part: MessageBatch, fault: str) -> None:
    """What is sent and paid has to be what was built; its rows can be built anew."""
    reason = (
        f"Its requests file {fault}: it was not sent. To build and send it anew: "
        f"manage.py resolve_part {part.pk} send-again --confirm {part.size}"
    )
    part.release_as(State.DROPPED, None, event=f"Part {part.part}: {reason}", reason=reason)


def postpone(part: MessageBatch, key: ApiKey, error: ClaudeError, at: datetime) -> None:
    """Nothing was sent: wait as long as the API asks for, or as the error deserves."""
    pause = remember_refusal(key, error, at, part.attempts)
    part.release(at + pause, attempts=part.attempts + 1, reason=why_not_sent(error))


def intend(part: MessageBatch, key: ApiKey, head: str = "") -> bool:
    """Commit that the next thing is the POST; False while a look-alike has no answer yet."""
    try:
        return part.move(
            State.SENDING,
            api=key.api,
            account=key.account(),
            list_head=head,
            sent_at=database_now(),
            reason="",
        )
    except IntegrityError:
        part.release(
            database_now() + SAME_SIZE_PAUSE,
            reason=why_it_waits(part, key.account()),
        )
        return False


def why_it_waits(part: MessageBatch, account: str) -> str:
    """Which part of the same size has to be known first; none of another workspace is named."""
    alike = MessageBatch.objects.filter(account=account, size=part.size)
    first = alike.filter(state__in=[State.SENDING, State.UNKNOWN]).first()
    name = "Another part"
    if first is not None and first.workspace_id == part.workspace_id:
        of = "" if first.batch_id == part.batch_id else f" of #{first.batch_id}"
        name = f"Part {first.part:,}{of}"
    return f"{name} has as many requests and no answer yet: the two could not be told apart."


def post(part: MessageBatch, key: ApiKey, client: Client, renewal: Renewal) -> None:
    path = requests_path(part)
    body = requests_body(path, renewal)
    try:
        remote, request_id = client.create_batch(body, body_length(path))
    except ClaudeError as error:
        settle_failure(part, key, error)
    else:
        created = Created(part.nonce, remote, request_id)
        write_created(part, created)
        save_created(part, created)


def write_created(part: MessageBatch, created: Created) -> None:
    """Write the journal; where the disk fails, the database alone has to know the id."""
    try:
        with archive.writing(archive.created(part.pk)) as file:
            file.write(msgspec.json.encode(created))
    except OSError:
        logger.exception("part %s: created.json was not written", part.pk)


def body_length(path: Path) -> int:
    """Bytes of the body: the lines joined by commas, the last newline becomes the envelope."""
    return len(PREFIX) + os.path.getsize(path) - 1 + len(SUFFIX)


def requests_body(path: Path, renewal: Renewal) -> Iterator[bytes]:
    """The requests file as the body of the POST, in chunks; newlines become commas.

    Before the first and before the last byte the lease is proven: a process that slept past it
    leaves the body short, and a short body creates nothing.
    """
    renewal.check()
    left = os.path.getsize(path) - 1
    yield PREFIX
    with open(path, "rb") as file:
        while left:
            chunk = file.read(min(CHUNK_SIZE, left))
            if not chunk:
                raise ValueError(f"{path.name} is shorter than it was a moment ago")
            left -= len(chunk)
            # Inside JSON a newline is always escaped: each one here ends a line.
            yield chunk.replace(b"\n", b",")
    renewal.check()
    yield SUFFIX


def why_not_sent(error: ClaudeError) -> str:
    """The reason on a part that waits; NotSent begins with the same words itself."""
    return str(error) if isinstance(error, NotSent) else f"Not sent: {error}"


def settle_failure(part: MessageBatch, key: ApiKey, error: ClaudeError) -> None:
    """The three kinds of outcome: not created, refused for good, not known."""
    at = database_now()
    if isinstance(error, CertificateRefused | Redirected):
        reject(part, error)
    elif isinstance(error, NotSent):
        requeue(part, key, error, at)
    elif isinstance(error, ApiError) and error.is_refusal:
        # What is wrong with the key or the hour mends; what is wrong with the file does not.
        if isinstance(error, RateLimited | REFUSALS):
            requeue(part, key, error, at)
        else:
            reject(part, error)
    else:
        become_unknown(part, at, error)


def requeue(part: MessageBatch, key: ApiKey, error: ClaudeError, at: datetime) -> None:
    pause = remember_refusal(key, error, at, part.attempts)
    part.release_as(
        State.QUEUED,
        at + pause,
        event=f"Part {part.part} was not created: {error}",
        # It lies nowhere yet; the next try may be with another key.
        api="",
        account="",
        attempts=part.attempts + 1,
        reason=why_not_sent(error),
    )


def reject(part: MessageBatch, error: ClaudeError) -> None:
    why = str(error)
    if isinstance(error, TooLarge):
        why = (
            f"{why} This part has {say_size(part.bytes)}; the API takes 256 MB at most. Send its "
            "rows again in smaller parts."
        )
    part.release_as(
        State.REJECTED,
        None,
        event=f"Part {part.part} was refused and not created: {why}",
        reason=why,
    )


def become_unknown(part: MessageBatch, at: datetime, error: ClaudeError | None = None) -> None:
    """The POST may have created a batch: from here on only looking, never sending."""
    why = str(error) if error else "The worker that sent it died before it had the answer."
    if isinstance(error, OutcomeUnknown) and error.answered:
        why = f"{why} The API had accepted it."
    part.release_as(
        State.UNKNOWN,
        at,
        event=(
            f"We do not know whether part {part.part} was created: {why} "
            "Nothing is sent again by itself."
        ),
        unknown_at=at,
        listings=0,
        reason=f"We do not know whether it was created: {why}",
    )


def save_created(part: MessageBatch, created: Created) -> bool:
    """Save what created.json says; False when the row is somebody else's by now."""
    remote = created.message_batch
    return part.release_as(
        State.SUBMITTED,
        database_now() + FIRST_LOOK,
        event=f"Part {part.part} was sent: {remote.id}.",
        message_batch_id=remote.id,
        # How often it was not sent says nothing of how often it is collected.
        attempts=0,
        adopt_id="",
        adopt_asked_by=None,
        reason="",
        **MessageBatch.mirror(remote),
    )


def read_created(part: MessageBatch) -> Created | None:
    """What the journal of a part says; None where no answer ever arrived."""
    try:
        text = archive.created(part.pk).read_bytes()
    except FileNotFoundError:
        return None
    created = msgspec.json.decode(text, type=Created)
    return created if created.nonce == part.nonce else None
