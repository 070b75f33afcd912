"""What every call to the API on behalf of a workspace shares: which key, and what a refusal means.

A refused key stops what needs it and says so on the key; nothing is lost by waiting.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from batches.models import Batch, MessageBatch
from batches.words import count
from claude_api import (
    ApiError,
    BillingRefused,
    ClaudeError,
    Client,
    KeyRefused,
    PermissionRefused,
    SpendLimitReached,
)
from claude_api.retries import delay
from workspaces.models import ApiKey, KeyCheck, Workspace

LOOK_AGAIN_AT_REFUSED = timedelta(minutes=5)
NO_KEY_PAUSE = timedelta(seconds=30)
OTHER_KEY_PAUSE = timedelta(minutes=5)
SHORTEST_PAUSE = timedelta(seconds=1)
ANOTHER_ACCOUNT = "It was sent with a key of another Anthropic workspace than the key saved now."
UNCONCERNED = (Batch.State.DRAFT, Batch.State.ENDED, Batch.State.REFUSED)
REFUSALS = KeyRefused | BillingRefused | PermissionRefused | SpendLimitReached


def client_for(key: ApiKey | KeyCheck) -> Client:
    return Client(key.url, key.reveal(), version=settings.CLAUDE_API_VERSION)


def live_key(workspace: Workspace, api: str = "") -> ApiKey | None:
    """The workspace's key, as long as it is for the API that the caller's rows live at."""
    key = workspace.live_key()
    return key if key and api in ("", key.api) and not key.why_unusable() else None


def key_for(part: MessageBatch, at: datetime) -> ApiKey | None:
    """The key to ask about a part at the API with; None where it waits for one from here on.

    Why it waits is the part's reason, unless that says what a person may have to decide.
    """
    key = live_key(part.workspace, part.api)
    if key is None:
        pause, why = NO_KEY_PAUSE, why_no_key(part.workspace, part.api)
    elif key.paused_until and key.paused(at):
        pause, why = key.paused_until - at, key.refused or part.reason
    elif not key.lists(part.account):
        pause, why = OTHER_KEY_PAUSE, ANOTHER_ACCOUNT
    else:
        return key
    asking = part.state in (MessageBatch.State.UNKNOWN, MessageBatch.State.DROPPED)
    part.release(at + pause, **({} if asking else {"reason": why}))
    return None


def why_no_key(workspace: Workspace, api: str = "") -> str:
    """The sentence for the place where live_key gave None."""
    key = workspace.live_key()
    if key is None:
        return f"The workspace {workspace.name} has no API key. Save one to go on."
    if why := key.why_unusable():
        return why
    return (
        f"The workspace's key is for the {key.get_api_display()}, and the batch was sent to the "
        f"{ApiKey.Api(api).label}. Save a key for it to go on."
    )


def remember_account(key: ApiKey, client: Client, at: datetime) -> None:
    """Keep what an accepted call tells of the key: that it works, and whose it is."""
    account = client.last.workspace_id or key.anthropic_workspace
    changes = {"accepted_at": at, "anthropic_workspace": account}
    if not (key.spend_limited or key.is_set_aside):
        # What waited for the key before hears of the one in its place by its first call.
        _judge(key, "", "", is_news=key.accepted_at in (None, key.created_at))
    ApiKey.objects.filter(pk=key.pk).update(**changes)
    for name, value in changes.items():
        setattr(key, name, value)


def remember_refusal(key: ApiKey, error: ClaudeError, at: datetime, attempt: int = 0) -> timedelta:
    """Write on the key what the API has against it; return how long to leave the API alone.

    A spend limit stops sending only: what is at the API already is still watched.
    """
    pause = pause_after(error, attempt)
    if isinstance(error, SpendLimitReached):
        _judge(key, ApiKey.SPEND_LIMIT, str(error))
    elif isinstance(error, REFUSALS):
        _judge(key, "key", str(error))
        _pause(key, at + pause)
    elif isinstance(error, ApiError) and error.retry_after is not None:
        _pause(key, at + pause)
    return pause


def set_aside(key: ApiKey) -> None:
    """Say on a key that crashed workers why nothing is asked with it; what waits needs a person."""
    said = f"Asking with the {key} stopped {count(key.crashes, 'worker')}: it is set aside."
    _judge(key, ApiKey.SET_ASIDE, said)


def forgive(key: ApiKey) -> None:
    """A person says that it is worth trying again; for callers that have locked no Batch."""
    with recounting(key.workspace_id):
        key.forgive()


def _judge(key: ApiKey, kind: str, sentence: str, *, is_news: bool = False) -> None:
    """Write what the API has against the key; the words of Batches follow where it is news."""
    live = ApiKey.objects.filter(pk=key.pk)
    said = {"refused": sentence, "refused_type": kind}
    # Each sentence names another request at the API, and says the same.
    known = live.values_list("refused_type", "refused").first()
    same = known is not None and (known[0], bool(known[1])) == (kind, bool(sentence))
    if is_news or not same:
        with recounting(key.workspace_id):
            live.update(**said)
    elif sentence:
        live.update(**said)
    key.refused, key.refused_type = sentence, kind


def recount_waiting(workspace_id: int) -> None:
    """Write the words of a workspace's Batches anew after its key was changed elsewhere."""
    with recounting(workspace_id):
        pass


@contextmanager
def recounting(workspace_id: int) -> Iterator[None]:
    """A transaction that changes a workspace's key, and with it the words of what waits for it."""
    waiting = Batch.objects.filter(workspace_id=workspace_id).exclude(state__in=UNCONCERNED)
    with transaction.atomic():
        # Always in one order: two who lock in different orders would wait for each other.
        locked = list(waiting.select_for_update(no_key=True).order_by("pk"))
        yield
        for batch in locked:
            batch.recount()


def _pause(key: ApiKey, until: datetime) -> None:
    shorter = Q(paused_until=None) | Q(paused_until__lt=until)
    ApiKey.objects.filter(shorter, pk=key.pk).update(paused_until=until)


def pause_after(error: ClaudeError, attempt: int) -> timedelta:
    """How long to wait before the same is tried again; refusals are looked at now and then."""
    seconds = delay(error, attempt, random.random())
    if seconds is None:
        return LOOK_AGAIN_AT_REFUSED
    return max(SHORTEST_PAUSE, timedelta(seconds=seconds))
