"""A file that was read is to be read in another way: another encoding, delimiter or header."""

import os
import secrets
from datetime import datetime
from typing import Any

from django.db import transaction

from batches import archive
from batches.models import Batch, Upload
from batches.receiving import hold_draft

COPIED = ("workspace_id", "created_by_id", "filename", "size", "received", "sha256")


def read_otherwise(batch: Batch, at: datetime, **choices: Any) -> None:
    """Queue the draft's file to be read anew; raises Refused once the batch was sent.

    What another Batch reads too stays as it is: this one gets an Upload of its own.
    """
    with transaction.atomic():
        held = hold_draft(batch)
        upload = Upload.objects.select_for_update(of=("self",)).get(batches=held)
        if upload.batches.exclude(pk=held.pk).exists():
            held.upload = upload = same_bytes(upload)
        if upload.read_again(at, **choices):
            held.leave_out, held.saved_at = 0, at
        held.save(update_fields=["upload", "leave_out", "saved_at"])


def same_bytes(upload: Upload) -> Upload:
    """Another Upload over the bytes of this one, which lie on the disk once."""
    values = {name: getattr(upload, name) for name in COPIED}
    token = secrets.token_urlsafe(16)
    other = Upload.objects.create(token=token, state=Upload.State.QUEUED, **values)
    path = archive.received(other.pk)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.link(archive.received(upload.pk), path)
    return other
