"""A person asks: a Turn is made, claimed by this process, and its answer is being written."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from claude_api import AsyncClient
from leases.models import LEASE, owner_name
from streaming.history import messages_for, prompt_to_go_on
from streaming.models import Conversation, Turn
from streaming.storing import interrupt_abandoned
from workspaces.models import ApiKey, Workspace

if TYPE_CHECKING:
    from django.contrib.auth.models import User

TITLE_LENGTH = 80


class CannotAsk(Exception):
    """Why nothing can be asked now, said to the person."""


def begin(
    workspace: Workspace, title: str, at: datetime, *, actor: "User | None", origin: str = ""
) -> Conversation:
    line = " ".join(title.split())
    short = line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1] + "…"
    return Conversation.objects.create(
        workspace=workspace,
        title=short or "Untitled",
        created_by=actor,
        origin=origin,
        created_at=at,
        updated_at=at,
    )


def ask(
    conversation: Conversation,
    prompt: list[dict[str, Any]],
    parameters: dict[str, Any],
    at: datetime,
    *,
    token: str,
    actor: "User | None" = None,
    continues: Turn | None = None,
    instead_of: Turn | None = None,
) -> tuple[Turn, bool]:
    """A Turn that this process has claimed; False with it where `token` was used already.

    `instead_of` is run once more: it and what follows it stand no longer. Raises CannotAsk while
    another answer is being written.
    """
    with transaction.atomic():
        Conversation.objects.select_for_update().get(pk=conversation.pk)
        known = conversation.turns.filter(token=token).first()
        if known is not None:
            return known, False
        refuse_while_live(conversation, at)
        if instead_of is not None:
            later = conversation.turns.standing().filter(number__gte=instead_of.number)
            later.update(replaced_at=at)
        turn = Turn.objects.create(
            conversation=conversation,
            number=next_number(conversation),
            token=token,
            prompt=prompt,
            parameters=parameters,
            continues=continues,
            requested_by=actor,
            asked_at=at,
            owner=owner_name(),
            lease_until=at + LEASE,
            fence=1,
        )
        Conversation.objects.filter(pk=conversation.pk).update(updated_at=at)
    return turn, True


def next_number(conversation: Conversation) -> int:
    return (conversation.turns.aggregate(last=Max("number"))["last"] or 0) + 1


def refuse_while_live(conversation: Conversation, at: datetime) -> None:
    for turn in conversation.turns.live():
        if not interrupt_abandoned(turn, at):
            raise CannotAsk("An answer is being written. Stop it, or wait for its end.")


def request_of(turn: Turn) -> dict[str, Any]:
    """What is sent to the API for a Turn, without `stream`."""
    return {**turn.parameters, "messages": messages_for(turn, turns_before(turn))}


def go_on(turn: Turn) -> list[dict[str, Any]]:
    """The prompt that asks for the rest of an answer that broke off."""
    return prompt_to_go_on(turn, turns_before(turn))


def turns_before(turn: Turn) -> list[Turn]:
    return list(turn.conversation.turns.standing().filter(number__lt=turn.number))


def request_stop(turn: Turn, at: datetime, actor: "User | None" = None) -> bool:
    """Write down that a live Turn is to end; whoever writes it sees it at once."""
    live = Turn.objects.live().filter(pk=turn.pk, stop_requested_at=None)
    return bool(live.update(stop_requested_at=at, stop_requested_by=actor))


def usable_key(workspace: Workspace) -> ApiKey:
    """The key to ask with; CannotAsk where there is none that could be used."""
    key = workspace.live_key()
    if key is None:
        raise CannotAsk(f"The workspace {workspace.name} has no API key. An owner can add one.")
    if why := key.why_unusable():
        raise CannotAsk(why)
    return key


def client_of(key: ApiKey) -> AsyncClient:
    return AsyncClient(key.url, key.reveal(), version=settings.CLAUDE_API_VERSION)
