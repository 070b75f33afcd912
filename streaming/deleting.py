"""A conversation is forgotten, for good; not while an answer is being written."""

from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction

from streaming.models import Conversation
from streaming.storing import end_abandoned
from workspaces.models import Event

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def forget(
    conversation: Conversation, at: datetime, actor: "User | None" = None, *, because: str = ""
) -> bool:
    """Delete a conversation with all its turns; False while one of them is live, or it is gone."""
    end_abandoned(conversation.turns.all(), at)
    with transaction.atomic():
        # The lock keeps a turn from beginning meanwhile.
        held = Conversation.objects.select_for_update().filter(pk=conversation.pk).first()
        if held is None or held.turns.live().exists():
            return False
        said = f"#{held.pk} {held.title} was deleted" + (f", {because}" if because else "")
        turns = held.turns.count()
        Event.objects.create(
            workspace_id=held.workspace_id,
            at=at,
            actor=actor,
            subject=f"conversation:{held.pk}",
            verb="deleted",
            sentence=f"{said}: {turns:,} prompt{'s' if turns != 1 else ''}.",
        )
        held.delete()
    return True
