"""Conversations that a workspace does not keep any longer; their age is that of the last turn."""

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet

from streaming.deleting import forget
from streaming.models import Conversation, Turn
from workspaces import retention
from workspaces.models import Workspace

CHUNK = 200


def older_conversations(workspace: Workspace, before: datetime) -> QuerySet[Conversation]:
    """Those in which nothing was asked or answered since."""
    since = Turn.objects.filter(conversation=OuterRef("pk"), asked_at__gt=before)
    old = Conversation.objects.filter(workspace=workspace, updated_at__lte=before)
    return old.filter(~Exists(since)).select_related("workspace").order_by("pk")


def one_by_one(conversations: QuerySet[Conversation]) -> Iterator[Conversation]:
    """In the order of their ids, read in pages of their own, so that each may be deleted."""
    last = 0
    while page := list(conversations.filter(pk__gt=last)[:CHUNK]):
        yield from page
        last = page[-1].pk


def prune_conversation(conversation: Conversation, at: datetime) -> bool:
    kept = retention.say_days(conversation.workspace.retention_days)
    return forget(conversation, at, because=f"as results are kept {kept}")


def prune_conversations(workspace: Workspace, before: datetime, at: datetime) -> int:
    """Delete what is older; how many. What is being written stays."""
    old = one_by_one(older_conversations(workspace, before))
    return sum(prune_conversation(conversation, at) for conversation in old)


def register() -> None:
    retention.register(
        retention.Kind(
            "conversation",
            "conversations",
            lambda workspace, before: older_conversations(workspace, before).count(),
            prune_conversations,
        )
    )
