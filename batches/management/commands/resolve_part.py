from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from batches import deciding, reconciling
from batches.models import MessageBatch
from batches.words import count
from claude_api import ClaudeError
from leases.clock import database_now
from leases.models import LEASE


class Command(BaseCommand):
    help = "Answer for a part whose outcome is unknown: adopt it, send it again, or drop it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("part", type=int, metavar="PART", help="the number that was asked for")
        answers = parser.add_subparsers(dest="answer", required=True)
        adopt = answers.add_parser("adopt", help="this batch at the API is the part")
        adopt.add_argument("message_batch_id", metavar="MSGBATCH_ID")
        adopt.add_argument(
            "--cancel", action="store_true", help="cancel there what is not answered yet"
        )
        again = answers.add_parser("send-again", help="send its rows again; both may be billed")
        again.add_argument(
            "--confirm", type=int, required=True, metavar="ROWS", help="the number of its requests"
        )
        answers.add_parser("drop", help="do not send its rows")
        answers.add_parser("leave", help="leave what turned up late at the API")
        answers.add_parser("start-again", help="try once more what stopped three workers")

    def handle(self, *, part: int, answer: str, **options: Any) -> None:
        there = MessageBatch.objects.filter(batch__deleting_at=None)
        found = there.filter(pk=part).select_related("batch", "run").first()
        if found is None:
            raise CommandError(f"There is no part {part}.", returncode=2)
        try:
            said = ANSWERS[answer](found, options)
        except deciding.CannotResolve as reason:
            raise CommandError(str(reason), returncode=2) from reason
        except (ClaudeError, ValueError) as error:
            raise CommandError(f"Nothing was changed: {error}", returncode=2) from error
        go_on = f"Go on: manage.py run_batch --resume {found.batch_id}"
        self.stderr.write(f"Part {found.part} {said}. {go_on}", style_func=str)


def adopt(part: MessageBatch, options: dict[str, Any]) -> str:
    """Asks the API itself, while no worker looks for the part."""
    id, at = options["message_batch_id"], database_now()
    deciding.refuse_to_adopt(part, deciding.read_id(id))
    due_at = part.due_at
    deciding.take_over(part, at + LEASE)
    try:
        reconciling.adopt(part, id)
    except Exception:
        part.release(due_at)
        raise
    if options["cancel"]:
        with transaction.atomic():
            part.hold_counted()
            MessageBatch.objects.filter(pk=part.pk).update(cancel_requested_at=at)
            part.batch.recount()
    return f"is {id}"


def send_again(part: MessageBatch, options: dict[str, Any]) -> str:
    if options["confirm"] != part.size:
        raise CommandError(
            f"Not sent: {part} has {count(part.size, 'request')}. To send them again, and "
            f"perhaps pay twice: --confirm {part.size}",
            returncode=2,
        )
    deciding.send_again(part, database_now())
    return "is sent again as a new one"


def drop(part: MessageBatch, options: dict[str, Any]) -> str:
    deciding.drop(part, database_now())
    return f"is dropped: {count(part.size, 'row')} not sent"


def leave(part: MessageBatch, options: dict[str, Any]) -> str:
    deciding.leave(part, database_now())
    return "is left at the API"


def start_again(part: MessageBatch, options: dict[str, Any]) -> str:
    if not deciding.start_again(part, part.batch, database_now()):
        raise deciding.CannotResolve(f"Part {part.part} is not set aside.")
    return "is started again"


ANSWERS: dict[str, Callable[[MessageBatch, dict[str, Any]], str]] = {
    "adopt": adopt,
    "send-again": send_again,
    "drop": drop,
    "leave": leave,
    "start-again": start_again,
}
