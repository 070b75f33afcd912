"""A workspace's API key is saved, and saved keys follow the installation's encryption keys."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from leases.clock import database_now
from workspaces import encryption
from workspaces.models import ApiKey, Event, KeyCheck, Workspace

if TYPE_CHECKING:
    from django.contrib.auth.models import User

FORM = re.compile(r"sk-ant-[A-Za-z0-9_-]{4,300}")


class KeyMalformed(Exception):
    """What was given cannot be a key. The text never repeats it."""


@sensitive_variables()
def clean_key(text: str) -> str:
    """The key without the white space around it; KeyMalformed when it has not a key's form."""
    secret = text.strip()
    if not FORM.fullmatch(secret):
        raise KeyMalformed(
            "That does not look like an Anthropic key (sk-ant-…): copy it whole, without quotes "
            "and without Bearer."
        )
    return secret


@sensitive_variables()
def save_key(
    workspace: Workspace,
    api: str,
    text: str,
    *,
    actor: "User | None" = None,
    at: datetime | None = None,
    **known: Any,
) -> ApiKey:
    """Save the key that the workspace works with from now on, and retire the one before.

    `known` are columns that the API has told already.
    """
    secret = clean_key(text)
    at = at or database_now()
    with transaction.atomic():
        retire_key(workspace, at)
        key = ApiKey.seal(workspace, api, secret, created_by=actor, created_at=at, **known)
        record(key, "saved", actor, at)
    return key


def remove_key(
    workspace: Workspace, *, actor: "User | None" = None, at: datetime | None = None
) -> bool:
    """Leave the workspace without a key; False where there was none."""
    at = at or database_now()
    with transaction.atomic():
        key = retire_key(workspace, at)
        KeyCheck.objects.filter(workspace=workspace).delete()
        if key is not None:
            record(key, "removed", actor, at)
    return key is not None


def retire_key(workspace: Workspace, at: datetime) -> ApiKey | None:
    """End the use of the live key, inside the transaction of what comes after it."""
    # The lock lets two people who replace the key at once follow each other. Who only writes an
    # event of the workspace does not wait: that one may hold what is locked next.
    Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk)
    key = workspace.live_key()
    workspace.api_keys.filter(retired_at=None).update(retired_at=at)
    return key


def record(key: ApiKey, verb: str, actor: "User | None", at: datetime) -> None:
    Event.objects.create(
        workspace_id=key.workspace_id,
        at=at,
        actor=actor,
        subject=f"key:{key.pk}",
        verb=verb,
        sentence=f"{key} {verb}.",
    )


@dataclass
class Rotation:
    """How many keys were encrypted anew, how many were already, and which could not be opened."""

    rotated: int = 0
    current: int = 0
    unreadable: list[str] = field(default_factory=list)


def rotate_keys() -> Rotation:
    """Encrypt every saved key, retired ones too, with the first of SLUICE_ENCRYPTION_KEYS.

    Each key is a transaction of its own, and a key that is done already is left alone: broken
    off anywhere, the next call goes on.
    """
    rotation = Rotation()
    # Lists, for a cursor left open while writing would fail on SQLite as soon as others write.
    waiting = KeyCheck.objects.exclude(secret="").select_related("workspace")
    keys: list[ApiKey | KeyCheck] = [*ApiKey.objects.select_related("workspace").order_by("pk")]
    for key in [*keys, *waiting]:
        try:
            rotate(key, rotation)
        except encryption.SecretUnreadable as error:
            place = f"workspace {key.workspace.slug}, key ending {key.last4}"
            rotation.unreadable.append(f"{place}: {error}")
    return rotation


@sensitive_variables()
def rotate(key: ApiKey | KeyCheck, rotation: Rotation) -> None:
    secret = key.reveal()
    if encryption.is_newest(key.secret):
        rotation.current += 1
        return
    token = encryption.seal(key.workspace_id, secret)
    # Only the token that was read is replaced: another rotation may have been first.
    if type(key).objects.filter(pk=key.pk, secret=key.secret).update(secret=token):
        rotation.rotated += 1
    else:
        rotation.current += 1
