from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from batches.models import MessageBatch
from batches.waiting import CannotCollect, collect_again, missing_answers, stop_waiting
from batches.words import count
from leases.clock import database_now


class Command(BaseCommand):
    help = "Ask the API for the results of a part again now, or wait for them no longer."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("part", type=int, metavar="PART", help="the number in its address")
        parser.add_argument(
            "--stop-waiting", action="store_true", help="rows without an answer become missing"
        )
        parser.add_argument(
            "--confirm", type=int, metavar="ANSWERS", help="the number of answers to do without"
        )

    def handle(self, *, part: int, **options: Any) -> None:
        there = MessageBatch.objects.visible().filter(batch__deleting_at=None)
        found = there.filter(pk=part).select_related("batch").first()
        if found is None:
            raise CommandError(f"There is no part {part}.", returncode=2)
        try:
            said = self.stop(found, options) if options["stop_waiting"] else self.collect(found)
        except CannotCollect as why:
            raise CommandError(str(why), returncode=2) from why
        go_on = f"Follow it: manage.py run_batch --resume {found.batch_id}"
        self.stderr.write(f"{said} {go_on}", style_func=str)

    def collect(self, part: MessageBatch) -> str:
        collect_again(part, database_now())
        return f"Part {part.part} is collected again."

    def stop(self, part: MessageBatch, options: dict[str, Any]) -> str:
        number = missing_answers(part)
        if options["confirm"] != number:
            raise CommandError(
                f"Nothing was changed: {part} lacks {count(number, 'answer')}. To do without: "
                f"--confirm {number}",
                returncode=2,
            )
        stop_waiting(part, database_now())
        return f"Nobody waits for {count(number, 'answer')} of part {part.part} any more."
