import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from batches import adopting
from batches.deciding import CannotResolve
from batches.models import Listing
from leases.clock import database_now
from workspaces.lookup import REFUSED, workspace_named
from workspaces.models import Workspace

# A worker may hold the list, or the API may ask to be left alone; longer nobody waits in a shell.
PATIENCE = 60.0
PAUSE = 0.2


class Command(BaseCommand):
    help = "List the batches that were made elsewhere with a workspace's key, or adopt some."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("workspace", metavar="WORKSPACE")
        parser.add_argument("ids", nargs="*", metavar="MSGBATCH_ID", help="without one: list them")

    def handle(self, *, workspace: str, ids: list[str], **options: Any) -> None:
        """Looks at the API itself: no worker has to run, and after a restore none should."""
        found = workspace_named(workspace)
        listing = look(found)
        if not ids:
            self.show(listing)
            return
        refused = [why for id in dict.fromkeys(ids) if (why := self.adopt(found, id))]
        if refused:
            raise CommandError("\n".join(refused), returncode=REFUSED)

    def show(self, listing: Listing) -> None:
        shown = list(adopting.not_adopted(listing))
        parts = adopting.parts_by_id(shown)
        for one in shown:
            part = parts.get(one.part)
            ours = f"part {part.part} of batch {part.batch_id}" if part else one.why_not()
            made = f"{one.created_at:%Y-%m-%d %H:%M}Z"
            line = (one.id, made, one.processing_status, str(one.size), ours)
            self.stdout.write("\t".join(line))
        more = "; there are older ones" if listing.more else ""
        said = "1 batch was" if len(shown) == 1 else f"{len(shown):,} batches were"
        self.stderr.write(f"{said} made elsewhere, among {listing.seen:,}{more}.", style_func=str)

    def adopt(self, workspace: Workspace, id: str) -> str:
        try:
            batch = adopting.adopt(workspace, id, database_now())
        except CannotResolve as why:
            return f"Not adopted: {why}"
        go_on = f"Follow it: manage.py run_batch --resume {batch.pk}"
        self.stderr.write(f"{id} belongs to batch {batch.pk} now. {go_on}", style_func=str)
        return ""


def look(workspace: Workspace) -> Listing:
    """A list that is made now; CommandError with why there is none."""
    listing = Listing.ask(workspace, database_now())
    mine, deadline = Listing.objects.filter(pk=listing.pk), time.monotonic() + PATIENCE
    while listing.state == Listing.State.LISTING and time.monotonic() < deadline:
        if not adopting.look_at(mine, database_now()):
            time.sleep(PAUSE)
        listing.refresh_from_db()
    if listing.state != Listing.State.DONE:
        why = listing.reason or "The list is not made yet: try again."
        raise CommandError(f"Nothing was listed. {why}", returncode=REFUSED)
    return listing
