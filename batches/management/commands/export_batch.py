"""What there is of a batch's answers, as a file or on stdout."""

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from batches.exporting import (
    FORMATS,
    ExportRefused,
    Format,
    check_place,
    export,
    say_counts,
    write_export,
)
from batches.exporting_choice import ROWS, Choice
from batches.models import Batch

REFUSED = 2
STDOUT = "-"
OF_A_PAGE = ("filter", "selected")


class Command(BaseCommand):
    help = "Write every row of a batch with its answer by now, in the order of the upload."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("batch", type=int, metavar="ID")
        parser.add_argument(
            "out", metavar="OUT.csv|OUT.jsonl", help="the file to write; - is stdout"
        )
        parser.add_argument(
            "--format", choices=FORMATS, help="where the name of OUT does not say it"
        )
        parser.add_argument(
            "--exact",
            action="store_true",
            help="leave cells that a spreadsheet takes for formulas as they are",
        )
        parser.add_argument("--bom", action="store_true", help="mark the CSV as UTF-8 for Excel")
        parser.add_argument(
            "--rows", choices=[name for name in ROWS if name not in OF_A_PAGE], default="all"
        )

    def handle(self, *, batch: int, out: str, **options: Any) -> None:
        there = Batch.objects.filter(deleting_at=None).select_related("upload")
        found = there.filter(pk=batch).first()
        if found is None:
            raise CommandError(f"There is no batch {batch}.", returncode=REFUSED)
        given = {
            "exact": options["exact"],
            "bom": options["bom"],
            "wanted": Choice(options["rows"]).takes,
        }
        try:
            if out == STDOUT:
                counts = print_export(found, options["format"], **given)
            else:
                check_place(Path(out))
                counts = write_export(found, Path(out), options["format"], **given)
        except ExportRefused as error:
            raise CommandError(str(error), returncode=REFUSED) from error
        except OSError as error:
            raise CommandError(f"{out} cannot be written: {error}", returncode=REFUSED) from error
        where = "stdout" if out == STDOUT else out
        self.stderr.write(f"{say_counts(counts)} → {where}", style_func=str)


def print_export(batch: Batch, format: Format | None, **given: Any) -> Counter[str]:
    if format is None:
        raise CommandError("For stdout say --format csv or --format jsonl.", returncode=REFUSED)
    counts: Counter[str] = Counter()
    try:
        for chunk in export(batch, format, counts=counts, **given):
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The reader has seen enough; Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    return counts
