from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from batches.models import Batch, MessageBatch
from batches.reindexing import CannotReindex, reindex
from batches.words import count
from leases.clock import database_now


class Command(BaseCommand):
    help = "Write the index anew from the files: results, counters, totals. Nothing is asked for."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("batch", type=int, nargs="?", metavar="BATCH", help="all without it")
        parser.add_argument("--part", type=int, metavar="PART", help="one part, by its number")

    def handle(self, *, batch: int | None, part: int | None, **options: Any) -> None:
        parts = MessageBatch.objects.visible().filter(batch__deleting_at=None)
        if batch is not None:
            if not Batch.objects.filter(pk=batch).exists():
                raise CommandError(f"There is no batch {batch}.", returncode=2)
            parts = parts.filter(batch_id=batch)
        if part is not None:
            parts = parts.filter(pk=part)
            if not parts.exists():
                raise CommandError(f"There is no part {part}.", returncode=2)
        failures = sum([not self.reindex(pk) for pk in list(parts.values_list("pk", flat=True))])
        if failures:
            raise CommandError(f"{count(failures, 'part')} not done.", returncode=1)

    def reindex(self, pk: int) -> bool:
        """One part, and what was done; the others do not wait for one that cannot be."""
        part = MessageBatch.objects.select_related("batch", "run").get(pk=pk)
        try:
            results = reindex(part, database_now())
        except CannotReindex as why:
            self.stderr.write(f"Part {pk} ({part}): {why}.", style_func=str)
            return False
        self.stdout.write(f"Part {pk} ({part}): {count(results, 'result')}.")
        return True
