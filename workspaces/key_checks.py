"""The worker tries a key before it takes the place of the one that works."""

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from leases.clock import database_now
from workspaces import encryption
from workspaces.keys import clean_key, save_key
from workspaces.models import ApiKey, KeyCheck, Workspace

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PATIENCE = timedelta(minutes=10)
State = KeyCheck.State


@sensitive_variables()
def ask_for_new(
    workspace: Workspace, api: str, text: str, *, actor: "User", at: datetime | None = None
) -> KeyCheck:
    """Have a key checked that is to replace the live one; KeyMalformed when it cannot be one."""
    secret = clean_key(text)
    sealed = {"secret": encryption.seal(workspace.pk, secret), "last4": secret[-4:]}
    return _ask(workspace, actor, at, api=api, is_new=True, **sealed)


def ask_for_live(
    workspace: Workspace, *, actor: "User", at: datetime | None = None
) -> KeyCheck | None:
    """Have the live key checked; None where there is none."""
    key = workspace.live_key()
    if key is None:
        return None
    return _ask(workspace, actor, at, api=key.api, is_new=False, last4=key.last4)


def _ask(workspace: Workspace, actor: "User", at: datetime | None, **fields: Any) -> KeyCheck:
    """The newest question takes the place of the one before, whatever became of that."""
    at = at or database_now()
    with transaction.atomic():
        Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk)
        dismiss(workspace)
        return KeyCheck.objects.create(
            workspace=workspace,
            asked_by=actor,
            asked_at=at,
            due_at=at,
            until=at + PATIENCE,
            **fields,
        )


def dismiss(workspace: Workspace) -> None:
    """Forget a check with all that it holds; one under way finds nothing to write to."""
    KeyCheck.objects.filter(workspace=workspace).delete()


@sensitive_variables()
def make_live(
    check: KeyCheck, at: datetime, found: dict[str, Any] | None = None, **known: Any
) -> ApiKey | None:
    """The checked key becomes the workspace's; None when somebody was first.

    `found` are columns of the check, `known` of the key.
    """
    secret = check.reveal()
    with transaction.atomic():
        # First, as everywhere: two who lock in different orders would wait for each other.
        Workspace.objects.select_for_update(no_key=True).get(pk=check.workspace_id)
        if not check.finish(State.WORKS, at, **(found or {})):
            return None
        return save_key(
            check.workspace, check.api, secret, actor=check.asked_by, at=at, accepted_at=at, **known
        )


def sandbox_key(workspace: Workspace) -> str:
    """A key that the sandbox takes, with a place of its own there for each workspace.

    The place is named by letters of the slug, for who reads the sandbox's files, and the id: the
    letters alone may be those of another workspace, or a word that the sandbox refuses.
    """
    return f"sk-ant-{re.sub('[^a-z]', '', workspace.slug.lower())}{workspace.pk}-local"
