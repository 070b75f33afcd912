"""The Conversation or Turn that a URL names, for those who may see it; 404 for everybody else."""

from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from streaming.models import Conversation, Turn
from workspaces.access import require
from workspaces.models import Membership

VIEWER, MEMBER = Membership.Role.VIEWER, Membership.Role.MEMBER


def find_conversation(
    request: HttpRequest, slug: str, conversation: int, role: str = VIEWER
) -> Conversation:
    """Http404 for strangers and for what is not of this workspace; PermissionDenied below `role`.

    The Conversation carries its workspace.
    """
    workspace = require(request, slug, role)
    conversations = Conversation.objects.filter(workspace=workspace)
    return get_object_or_404(conversations.select_related("workspace"), pk=conversation)


def find_turn(
    request: HttpRequest, slug: str, conversation: int, turn: int, role: str = VIEWER
) -> Turn:
    found = find_conversation(request, slug, conversation, role)
    turns = found.turns.select_related(
        "conversation__workspace", "requested_by", "stop_requested_by"
    )
    return get_object_or_404(turns, pk=turn)
