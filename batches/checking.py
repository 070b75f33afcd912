"""A key that somebody saves or doubts is tried at the API: it works, or the API says why not."""

from datetime import datetime, timedelta
from functools import partial

import msgspec

from batches.calling import (
    client_for,
    forgive,
    pause_after,
    recount_waiting,
    remember_account,
    remember_refusal,
)
from batches.models import Batch, MessageBatch
from claude_api import ApiError, ClaudeError, Client, Model, PermissionRefused, RateLimited
from leases.models import LeaseQuerySet
from leases.renewing import Renewal, work_on
from workspaces.key_checks import PATIENCE, make_live
from workspaces.models import ApiKey, KeyCheck

LONGEST_PAUSE = timedelta(seconds=30)
State = KeyCheck.State
SENT = MessageBatch.OPEN - {MessageBatch.State.QUEUED}


def step(at: datetime, only: Batch | None = None) -> bool:
    """Try one key that is to be checked; True if there was one."""
    checks = KeyCheck.objects.filter(state=State.CHECKING)
    if only is not None:
        checks = checks.filter(workspace_id=only.workspace_id)
    return give_up(checks, at) or work_on(checks, at, partial(check, at=at))


def give_up(checks: LeaseQuerySet, at: datetime) -> bool:
    """Finish one that stopped so many workers that nobody tries it again; True if there was one."""
    asked = checks.set_aside().free(at).first()
    if asked is None:
        return False
    why = f"Trying it stopped {asked.crashes} workers. Look into the worker's log for why."
    return bool(asked.finish(State.UNREACHABLE, at, sentence=why))


def check(asked: KeyCheck, renewal: Renewal, at: datetime) -> None:
    key = asked if asked.is_new else asked.workspace.live_key()
    if key is None:
        asked.finish(State.REFUSED, at, sentence="The key was removed.")
        return
    if why := key.why_unusable():
        asked.finish(State.REFUSED, at, sentence=why)
        return
    with client_for(key) as client:
        try:
            models = look(client)
        except ClaudeError as error:
            write_failure(asked, key, error, at)
            return
        write_success(asked, key, client, models, at)


def look(client: Client) -> list[Model] | None:
    """The models; None for a key that may see message batches, but no list of models."""
    try:
        return client.list_models()
    except PermissionRefused:
        client.list_batches(limit=1)
        return None


def write_success(
    asked: KeyCheck,
    key: ApiKey | KeyCheck,
    client: Client,
    models: list[Model] | None,
    at: datetime,
) -> None:
    found = {"model_count": None if models is None else len(models), "sentence": ""}
    known = {"models": msgspec.to_builtins(models), "models_read_at": at} if models else {}
    if isinstance(key, ApiKey):
        remember_account(key, client, at)
        if not key.spend_limited:
            forgive(key)
        ApiKey.objects.filter(pk=key.pk).update(**known)
        asked.finish(State.WORKS, at, **found)
        return
    account = client.last.workspace_id
    if number := count_open_elsewhere(key, account):
        changes = {"anthropic_workspace": account, "open_elsewhere": number}
        asked.finish(State.ELSEWHERE, at, **changes, **found)
        return
    make_live(key, at, found, anthropic_workspace=account, **known)
    recount_waiting(key.workspace_id)


def count_open_elsewhere(asked: KeyCheck, account: str) -> int:
    """How many parts are open that were sent to another API or account than the key's."""
    sent = MessageBatch.objects.filter(workspace_id=asked.workspace_id, state__in=SENT)
    key = ApiKey(workspace_id=asked.workspace_id, anthropic_workspace=account)
    return sum(
        api != asked.api or not key.lists(whose)
        for api, whose in sent.values_list("api", "account")
    )


def write_failure(
    asked: KeyCheck, key: ApiKey | KeyCheck, error: ClaudeError, at: datetime
) -> None:
    if is_refusal(error):
        if isinstance(key, ApiKey):
            remember_refusal(key, error, at)
        asked.finish(State.REFUSED, at, sentence=str(error))
    elif at >= asked.until:
        minutes = PATIENCE // timedelta(minutes=1)
        why = f"The API could not be reached for {minutes} minutes. {error}"
        asked.finish(State.UNREACHABLE, at, sentence=why)
    else:
        pause = min(pause_after(error, attempt=2), LONGEST_PAUSE)
        asked.release(at + pause, sentence=str(error))


def is_refusal(error: ClaudeError) -> bool:
    """Whether the API itself said no, and would say so again."""
    return isinstance(error, ApiError) and error.is_refusal and not isinstance(error, RateLimited)
