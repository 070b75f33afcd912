import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from batches.models import Batch
from batches.planning import Selection
from batches.reading import LAST_ROW
from batches.retry_review import RetryReview
from batches.retrying import MOST_ROWS, CannotRetry
from batches.reviewing import token_of
from batches.starting import one_at_a_time
from batches.words import count
from leases.clock import database_now

REFUSED = 2
TYPES = ("errored", "expired", "canceled", "missing", "not_sent", "succeeded")


class Command(BaseCommand):
    help = "Send rows of a batch once more: what expired, was canceled, is missing or errored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("batch", type=int, metavar="ID")
        parser.add_argument(
            "--type",
            action="append",
            default=[],
            choices=TYPES,
            help="rows by the type of their newest answer; succeeded ones only if worth a look",
        )
        parser.add_argument(
            "--error",
            action="append",
            default=[],
            metavar="NAME",
            help="rows by their error, or why the answer ended, such as max_tokens or unfit",
        )
        parser.add_argument(
            "--row", action="append", type=int, default=[], metavar="N", help="a row by its number"
        )
        parser.add_argument(
            "--max-tokens", type=int, metavar="N", help="longer answers, where some were cut off"
        )
        parser.add_argument(
            "--edited", action="store_true", help="with the recipe that was edited in the browser"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would be sent, and send nothing"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *, batch: int, **options: Any) -> None:
        found = Batch.objects.select_related("workspace", "upload").filter(pk=batch).first()
        if found is None or found.deleting_at is not None:
            raise CommandError(f"There is no batch {batch}.", returncode=REFUSED)
        if not (options["type"] or options["error"] or options["row"]):
            raise CommandError("Say which rows: --type, --error or --row.", returncode=REFUSED)
        if len(options["row"]) > MOST_ROWS:
            said = f"At most {MOST_ROWS:,} rows are named one by one."
            raise CommandError(said, returncode=REFUSED)
        if strange := [row for row in options["row"] if not 0 < row <= LAST_ROW]:
            raise CommandError(f"There is no row {strange[0]}.", returncode=REFUSED)
        looked_at, token = self.look(found, options), token_of(found)
        self.tell(looked_at)
        self.refuse_what_hinders(looked_at)
        if options["dry_run"]:
            return
        said = f"Retry {count(looked_at.requests, 'row')}, {looked_at.price()}"
        if not options["yes"] and not self.is_agreed(said):
            raise CommandError("Nothing was sent.", returncode=1)
        self.press(found, options, token, looked_at.requests)
        self.stderr.write(
            f"{said}: queued. Follow it with manage.py run_batch --resume {batch}", style_func=str
        )

    def is_agreed(self, said: str) -> bool:
        """Where nobody can be asked, nobody agrees."""
        self.stderr.write(f"{said}? [y/N] ", style_func=str, ending="")
        self.stderr.flush()
        return sys.stdin.readline().strip().lower() == "y"

    def look(self, batch: Batch, options: dict[str, Any]) -> RetryReview:
        selection = Selection(
            kind="retry",
            types=options["type"],
            concerns=options["error"],
            rows=sorted(set(options["row"])),
        )
        most = options["max_tokens"]
        # Without the option nothing is raised: a suggestion is for somebody who sees it.
        looked_at = RetryReview(batch, selection, database_now(), edited=options["edited"])
        looked_at.typed = looked_at.unraised if most is None else str(most)
        return looked_at

    def tell(self, looked_at: RetryReview) -> None:
        lines = [f"{number:,} {said}" for said, number in looked_at.chosen]
        if looked_at.tally.billed:
            lines.append(f"{count(looked_at.tally.billed, 'answer')} billed once more.")
        if looked_at.tally.perhaps_billed:
            missing = count(looked_at.tally.perhaps_billed, "missing answer")
            lines.append(f"{missing} may have been billed already.")
        if looked_at.may_be_there:
            lines.append(
                "A part of them was dropped without knowing whether it was created: if it was, "
                "what it answered is billed, too."
            )
        for line in [*lines, *looked_at.held]:
            self.stderr.write(line, style_func=str)

    def refuse_what_hinders(self, looked_at: RetryReview) -> None:
        hindered = [obstacle.sentence for obstacle in looked_at.obstacles]
        hindered += [problem.sentence() for problem in looked_at.problems]
        if hindered:
            raise CommandError(" ".join(hindered), returncode=REFUSED)

    def press(self, batch: Batch, options: dict[str, Any], token: str, requests: int) -> None:
        with one_at_a_time(batch.workspace):
            looked_at = self.look(batch, options)
            if token != token_of(batch) or looked_at.requests != requests:
                said = "Somebody else was first, or answers came in. Look again."
                raise CommandError(said, returncode=1)
            try:
                looked_at.send(token)
            except CannotRetry as error:
                raise CommandError(str(error), returncode=REFUSED) from error
