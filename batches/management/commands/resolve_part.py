from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from batches import reconciling
from batches.models import MessageBatch
from batches.words import count
from claude_api import ClaudeError
from leases.clock import database_now

State = MessageBatch.State


class Command(BaseCommand):
    help = "Answer for a part whose outcome is unknown: adopt it, send it again, or drop it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("part", type=int, metavar="PART", help="the number that was asked for")
        answers = parser.add_subparsers(dest="answer", required=True)
        adopt = answers.add_parser("adopt", help="this batch at the API is the part")
        adopt.add_argument("message_batch_id", metavar="MSGBATCH_ID")
        again = answers.add_parser("send-again", help="send its rows again; both may be billed")
        again.add_argument(
            "--confirm", type=int, required=True, metavar="ROWS", help="the number of its requests"
        )
        answers.add_parser("drop", help="do not send its rows")

    def handle(self, *, part: int, answer: str, **options: Any) -> None:
        found = MessageBatch.objects.filter(pk=part).select_related("batch", "run").first()
        if found is None:
            raise CommandError(f"There is no part {part}.", returncode=2)
        try:
            self.stderr.write(self.resolve(found, answer, options), style_func=str)
        except reconciling.CannotResolve as reason:
            raise CommandError(str(reason), returncode=2) from reason
        except (ClaudeError, ValueError) as error:
            raise CommandError(f"Nothing was changed: {error}", returncode=2) from error

    def resolve(self, part: MessageBatch, answer: str, options: dict[str, Any]) -> str:
        """Carry out the answer; the sentence that says what became of the part."""
        go_on = f"Go on: manage.py run_batch --resume {part.batch_id}"
        if answer == "adopt":
            reconciling.adopt(part, options["message_batch_id"])
            return f"Part {part.part} is {part.message_batch_id}. {go_on}"
        if answer == "drop":
            reconciling.drop(part)
            return f"Part {part.part} is dropped: its {part.size:,} rows are not sent. {go_on}"
        if options["confirm"] != part.size:
            raise CommandError(
                f"Not sent: {part} has {count(part.size, 'request')}. To send them again, and "
                f"perhaps pay twice: --confirm {part.size}",
                returncode=2,
            )
        reconciling.send_again(part, database_now())
        return f"Part {part.part} is sent again as a new one. {go_on}"
