"""What a browser sends, in pieces -> uploads/<id>/received, and a draft over it.

An Upload's `received` counts bytes that are on the disk: a piece is written and fsynced before
it says so, and what a broken one left behind is cut off before the next is written.
"""

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, BinaryIO, Protocol

import msgspec
from django.conf import settings
from django.db import transaction
from django.db.models import F

from batches import archive
from batches.models import Batch, Upload
from batches.starting import discard_upload, draft
from batches.words import say_size
from claude_api.tolerant import clean
from workspaces.models import Workspace

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PIECE_LIMIT = 8 << 20
SIZE_LIMIT = 10 * 10**9
# The file, its rows and the requests made of them.
ROOM = 3
COPIED_AT_ONCE = 1 << 18
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# What no name of a file needs: controls, and marks that turn the direction of what follows.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Refused(Exception):
    """Nothing was taken; the sentence says why, to the person who sent it."""


class TooLarge(Refused):
    pass


class NoRoom(Refused):
    pass


class OutOfStep(Refused):
    """The piece does not begin where the file ends, or another one is being written."""


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


TOKEN = r"^[A-Za-z0-9_-]{16,64}\Z"
# What fits into a database's integer.
Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Announcement(msgspec.Struct, frozen=True):
    """A file that a browser is about to send. The token is the same for each try."""

    name: str
    size: int
    token: Annotated[str, msgspec.Meta(pattern=TOKEN)]
    recipe: Id | None = None
    batch: Id | None = None
    modified: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None = None


def begin(
    file: Announcement,
    workspace: Workspace,
    actor: "User",
    at: datetime,
    *,
    like: Batch | None = None,
    replacing: Batch | None = None,
) -> Upload:
    """An Upload without bytes in a draft: a new one with the recipe of `like`, or `replacing`."""
    known = Upload.objects.filter(workspace=workspace, token=file.token).first()
    if known is None:
        check(file)
    name, stale = clean_name(file.name), None
    with transaction.atomic():
        upload, is_new = Upload.objects.get_or_create(
            workspace=workspace,
            token=file.token,
            defaults={
                "filename": name,
                "size": file.size,
                "modified": file.modified,
                "created_by": actor,
            },
        )
        if is_new and replacing is not None:
            stale = replace(replacing, upload, at)
        elif is_new:
            draft(upload, name_batch(name), None, like=like, created_by=actor, saved_at=at)
    if (upload.filename, upload.size, upload.modified) != (name, file.size, file.modified):
        raise OutOfStep("Another file is being sent under this name. Choose the file again.")
    if stale is not None:
        discard_upload(stale)
    return upload


def check(file: Announcement) -> None:
    """Raise Refused for a file that is not worth sending a byte of."""
    if file.size <= 0:
        raise Refused("File is empty. Choose another.")
    if file.size > SIZE_LIMIT:
        limit = say_size(SIZE_LIMIT)
        raise TooLarge(f"File is {say_size(file.size)}, the limit is {limit}. Split it.")
    free = shutil.disk_usage(settings.DATA_DIR).free
    if free < ROOM * file.size:
        raise no_room(free, ROOM * file.size)


def no_room(free: int, needed: int) -> NoRoom:
    return NoRoom(
        f"The server has no room for this file (free {say_size(free)}, needed "
        f"{say_size(needed)}). Tell your administrator."
    )


def clean_name(name: str) -> str:
    """The last part of a path, as it can be stored and shown; its ending is kept."""
    last = _UNPRINTABLE.sub("", clean(re.split(r"[/\\]", name)[-1])).strip()
    path = PurePath(last or "file")
    return path.stem[: 255 - len(path.suffix[:20])] + path.suffix[:20]


def name_batch(filename: str) -> str:
    return PurePath(filename).stem[:200] or filename[:200]


def replace(batch: Batch, upload: Upload, at: datetime) -> Upload | None:
    """Put the upload in the place of a draft's file, which is kept until all of it is here.

    Returns what nobody waits for any more. Inside a transaction.
    """
    held = hold_draft(batch)
    old = held.upload
    stale = old if old is not None and old.state == Upload.State.RECEIVING else None
    upload.replaces = stale.replaces if stale else old
    upload.save(update_fields=["replaces"])
    held.upload, held.leave_out, held.saved_at = upload, 0, at
    held.save(update_fields=["upload", "leave_out", "saved_at"])
    return stale


def hold_draft(batch: Batch) -> Batch:
    """The Batch, locked, as long as its file may change; raises Refused once it was sent."""
    held = Batch.objects.select_for_update().get(pk=batch.pk)
    if held.runs.exists():
        raise Refused("This batch was sent, so its file stays as it is. Start a new batch.")
    return held


def append(upload: Upload, offset: int, body: Readable, at: datetime) -> None:
    """Write the piece that begins at `offset`; the last one queues the file to be read."""
    receiving = Upload.objects.filter(pk=upload.pk, state=Upload.State.RECEIVING)
    with writing_alone(upload) as file:
        check_step(upload, offset)
        if upload.received < upload.size:
            if os.fstat(file.fileno()).st_size < offset:
                receiving.update(received=0)
                raise OutOfStep("What had arrived is no longer on the server.")
            end = offset + write_piece(file, offset, body, upload.size)
            if not receiving.filter(received=offset).update(received=end):
                raise OutOfStep("Another piece came first.")
            upload.received = end
    if upload.received == upload.size:
        finish(upload, at)


def check_step(upload: Upload, offset: int) -> None:
    """Raise OutOfStep unless the file is still arriving and goes on at `offset`."""
    try:
        upload.refresh_from_db()
    except Upload.DoesNotExist:
        archive.delete("uploads", upload.pk)
        raise
    if upload.state != Upload.State.RECEIVING:
        archive.arriving(upload.pk).unlink(missing_ok=True)
    if upload.state != Upload.State.RECEIVING or offset != upload.received:
        raise OutOfStep(f"The file goes on at byte {upload.received:,}.")


@contextmanager
def writing_alone(upload: Upload) -> Iterator[BinaryIO]:
    """The file that is arriving, which one request at a time writes to, on whatever host."""
    path = archive.arriving(upload.pk)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            upload.refresh_from_db()
            raise OutOfStep("Another piece is being written.") from None
        try:
            yield file
        except OSError as error:
            if error.errno in NO_ROOM:
                free = shutil.disk_usage(settings.DATA_DIR).free
                raise no_room(free, upload.size - upload.received) from error
            raise


def write_piece(file: BinaryIO, offset: int, body: Readable, size: int) -> int:
    """Write the body from `offset` on, down to the disk; how many bytes it had."""
    file.truncate(offset)
    file.seek(offset)
    written = 0
    while data := body.read(COPIED_AT_ONCE):
        written += len(data)
        if written > PIECE_LIMIT:
            raise TooLarge(f"A piece holds at most {PIECE_LIMIT:,} bytes.")
        if offset + written > size:
            raise Refused("The file is larger than it was said to be. Choose it again.")
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
    os.fsync(file.fileno())
    return written


def finish(upload: Upload, at: datetime) -> None:
    """All bytes are here: queue them to be read, and let go of the file that they replace."""
    path = archive.received(upload.pk)
    if not path.exists():
        archive.put_in_place(archive.arriving(upload.pk), path)
    whole = Upload.objects.filter(pk=upload.pk, state=Upload.State.RECEIVING, received=F("size"))
    with transaction.atomic():
        if not whole.update(state=Upload.State.QUEUED, due_at=at, replaces=None):
            return
        for batch in upload.batches.all():
            actor = upload.created_by
            batch.record("upload", f"{upload.filename} was uploaded.", actor=actor, at=at)
    archive.arriving(upload.pk).unlink(missing_ok=True)
    if upload.replaces is not None:
        discard_upload(upload.replaces)
    upload.refresh_from_db()


def cancel(upload: Upload) -> Batch | None:
    """Give up a file that is arriving; its draft goes too, unless that gets back what it had.

    Returns the draft that stays.
    """
    with transaction.atomic():
        arriving = Upload.objects.select_for_update().filter(state=Upload.State.RECEIVING)
        held = arriving.filter(pk=upload.pk).first()
        if held is None:
            raise OutOfStep("All of the file is here. Delete the draft instead.")
        batch = held.batches.first()
        if batch is not None and held.replaces is not None:
            batch.upload = held.replaces
            batch.save(update_fields=["upload"])
        elif batch is not None:
            batch.delete()
            batch = None
    discard_upload(held)
    return batch
