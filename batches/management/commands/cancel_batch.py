from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from batches.cancelling import request_cancel
from batches.models import Batch
from batches.words import count
from leases.clock import database_now


class Command(BaseCommand):
    help = "Cancel a batch: what is answered is kept and billed, the rest is not sent or stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("batch", type=int, metavar="ID")

    def handle(self, *, batch: int, **options: Any) -> None:
        found = Batch.objects.filter(pk=batch, deleting_at=None).first()
        if found is None:
            raise CommandError(f"There is no batch {batch}.", returncode=2)
        parts = request_cancel(found, database_now())
        if not parts:
            self.stderr.write(f"Batch {batch} has nothing left to cancel.", style_func=str)
            return
        if not found.message_batches.exists():
            said = f"Batch {batch} is canceled before it was built: nothing of it is sent."
            self.stderr.write(said, style_func=str)
            return
        self.stderr.write(
            f"Canceled: {count(parts, 'part')} of batch {batch}. The workers tell the API; "
            f"follow it with manage.py run_batch --resume {batch}",
            style_func=str,
        )
