from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from leases.clock import database_now
from streaming.pruning import older_conversations, one_by_one, prune_conversation
from workspaces import retention
from workspaces.lookup import workspace_named
from workspaces.models import Workspace


class Command(BaseCommand):
    help = "Delete conversations whose last turn is older than their workspace keeps."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would go, no more")
        parser.add_argument("--workspace", default="", metavar="SLUG", help="only of this one")

    def handle(self, *, dry_run: bool, workspace: str, **options: Any) -> None:
        chosen = [workspace_named(workspace)] if workspace else Workspace.objects.order_by("pk")
        number = sum(self.prune(one, dry_run) for one in chosen)
        said = f"{number:,} conversation" + ("s" if number != 1 else "")
        if not number:
            said = "Nothing is older than it is kept."
        elif dry_run:
            said += ". Nothing was changed."
        else:
            said += " deleted."
        self.stderr.write(said, style_func=str)

    def prune(self, workspace: Workspace, dry_run: bool) -> int:
        """Print one line for each that goes; how many."""
        at, number = database_now(), 0
        if workspace.retention_days is None:
            return 0
        before = retention.limit(workspace.retention_days, at)
        for conversation in one_by_one(older_conversations(workspace, before)):
            if dry_run or prune_conversation(conversation, at):
                number += 1
                title = "".join(one if one.isprintable() else "?" for one in conversation.title)
                used = f"{conversation.updated_at:%Y-%m-%d}"
                self.stdout.write(
                    f"conversation {conversation.pk:>8}  {used}  {workspace.slug}: {title}"
                )
        return number
