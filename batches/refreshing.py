"""What a key may use: the list of models with their limits, read anew once a day."""

from datetime import datetime, timedelta
from functools import partial

import msgspec
from django.db.models import Q

from batches.calling import client_for, remember_account, remember_refusal
from batches.models import Batch
from claude_api import ClaudeError, KeyRefused, RateLimited
from leases.renewing import Renewal, work_on
from workspaces.models import ApiKey

MODELS_LAST = timedelta(days=1)
LOOK_AGAIN = timedelta(minutes=5)


def step(at: datetime, only: Batch | None = None) -> bool:
    """Read the models of one key whose list is old or missing; True if there was one."""
    awake = Q(paused_until=None) | Q(paused_until__lte=at)
    old = Q(models_read_at=None) | Q(models_read_at__lte=at - MODELS_LAST)
    keys = ApiKey.objects.filter(awake, old, retired_at=None)
    if only is not None:
        keys = keys.filter(workspace_id=only.workspace_id)
    return work_on(keys, at, partial(refresh, at=at))


def refresh(key: ApiKey, renewal: Renewal, at: datetime) -> None:
    """Save the list on the key; where it cannot be read, keep the old one and look again soon."""
    soon = at - MODELS_LAST + LOOK_AGAIN
    if key.why_unusable():
        key.release(at, models_read_at=soon)
        return
    with client_for(key) as client:
        try:
            models = client.list_models()
        except ClaudeError as error:
            # A key that may not list models may well send: no more is written on it.
            if isinstance(error, KeyRefused | RateLimited):
                remember_refusal(key, error, at)
            key.release(at, models_read_at=soon)
            return
        remember_account(key, client, at)
    key.release(at, models=msgspec.to_builtins(models), models_read_at=at)
