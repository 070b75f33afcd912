"""A file in, Message Batches run, a file out; also a worker that takes only its own Batch."""

import secrets
import signal
import sys
import threading
import time
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import Tags, run_checks
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, DatabaseError

from batches import parsing, refreshing, starting
from batches.asking import Question
from batches.exporting import ExportRefused, check_place, find_format, write_export
from batches.following import REST, follow
from batches.limits import Limits
from batches.models import Batch, Upload
from batches.planning import MOST_REQUESTS, Selection
from batches.problems import Problem
from batches.recipe import Recipe, check
from batches.summary import summarise, why_errored
from batches.versions import find_difference
from leases.clock import database_now
from leases.models import CRASH_LIMIT
from workspaces.arguments import count, text_or_file
from workspaces.lookup import choose_workspace, ensure_key

EVERY_ROW_SUCCEEDED, SOME_DID_NOT, REFUSED, PERSON_DECIDES, INTERRUPTED = 0, 1, 2, 3, 130


def part_size(text: str) -> int:
    if count(text) > MOST_REQUESTS:
        raise ArgumentTypeError(f"a part holds at most {MOST_REQUESTS:,} requests")
    return int(text)


def add_recipe(parser: CommandParser) -> None:
    parser.add_argument("--model", help="the model's id")
    parser.add_argument(
        "--prompt",
        type=text_or_file,
        metavar="TEXT|@FILE",
        help="the prompt, with {{column}} where a cell belongs",
    )
    parser.add_argument("--system", type=text_or_file, default="", metavar="TEXT|@FILE")
    parser.add_argument("--max-tokens", type=int, default=1024, metavar="N")
    parser.add_argument(
        "--id-column",
        default="",
        metavar="C",
        help="the column that names a row; else its number does",
    )


def add_selection(parser: CommandParser) -> None:
    rows = parser.add_mutually_exclusive_group()
    rows.add_argument("--rows", type=count, metavar="N", help="only the first N rows")
    rows.add_argument("--sample", type=count, metavar="N", help="only N rows at random")
    parser.add_argument(
        "--part-size",
        type=part_size,
        default=0,
        metavar="N",
        help="about so many rows a message batch",
    )
    parser.add_argument(
        "--leave-out",
        action="store_true",
        help="leave rows with problems out and send the others",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="send what a running batch sends already, and pay twice",
    )


class Command(BaseCommand):
    help = "Send every row of a file as a request in Message Batches and bring the answers back."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file",
            nargs="?",
            type=Path,
            metavar="FILE",
            help="CSV, TSV, or JSONL of ready requests",
        )
        parser.add_argument(
            "--encoding", default="", help="such as cp1252, where the file does not say itself"
        )
        parser.add_argument("--name", default="")
        parser.add_argument("--workspace", default="", metavar="SLUG")
        parser.add_argument("--resume", type=int, metavar="ID", help="go on with a batch")
        parser.add_argument("--output", type=Path, metavar="OUT.csv|OUT.jsonl")
        parser.add_argument(
            "--no-wait", action="store_true", help="queue it for the workers and print its id"
        )
        add_recipe(parser)
        add_selection(parser)

    def handle(self, **options: Any) -> None:
        self.options = options
        check_output(options["output"])
        self.check_database()
        try:
            self.run()
        except (OSError, DatabaseError) as error:
            # Exit code 1 would say that rows did not succeed.
            raise CommandError(
                f"This machine is in the way: {error}. Nothing that was sent is lost. When it is "
                "mended, go on with --resume ID, or begin again where no id was said.",
                returncode=PERSON_DECIDES,
            ) from error

    def check_database(self) -> None:
        """It works itself, so it needs what a worker needs."""
        for found in run_checks(tags=[Tags.database], databases=[DEFAULT_DB_ALIAS]):
            if found.is_serious():
                raise CommandError(f"{found.msg} Nothing was sent.", returncode=REFUSED)
        if why := find_difference():
            raise CommandError(f"{why} Nothing was sent.", returncode=REFUSED)

    def run(self) -> None:
        options = self.options
        batch = self.begin() if options["resume"] is None else self.resume()
        if options["no_wait"]:
            self.stdout.write(str(batch.pk))
            return
        self.say(
            f"Batch {batch.pk}: {batch.name}. "
            f"If this stops: manage.py run_batch --resume {batch.pk}"
        )
        sys.exit(self.wait(batch))

    def say(self, line: str) -> None:
        """News, not an error: without the red that Django gives to stderr."""
        self.stderr.write(line, style_func=str)

    def begin(self) -> Batch:
        """A new Batch with a queued Run, or a refusal with nothing left behind."""
        path: Path | None = self.options["file"]
        if path is None:
            raise CommandError(
                "Name a FILE, or a batch to go on with: --resume ID.", returncode=REFUSED
            )
        if not path.is_file():
            raise CommandError(f"{path} is not a file.", returncode=REFUSED)
        workspace = choose_workspace(self.options["workspace"])
        ensure_key(workspace, self.say)
        upload = starting.receive(path, workspace, database_now(), self.options["encoding"])
        recipe = self.recipe_as_given()
        name = self.options["name"] or ", ".join([path.stem, *([recipe.model] if recipe else [])])
        batch = starting.draft(upload, name, recipe)
        try:
            self.refuse_problems(batch)
            with starting.one_at_a_time(workspace):
                self.refuse_twin(batch)
                starting.start(batch, self.selection(), database_now())
        except BaseException:
            starting.discard(batch)
            raise
        return batch

    def recipe_as_given(self) -> Recipe | None:
        if self.options["model"] is None and self.options["prompt"] is None:
            return None
        return Recipe(
            model=self.options["model"] or "",
            prompt=self.options["prompt"] or "",
            system=self.options["system"],
            max_tokens=self.options["max_tokens"],
            id_column=self.options["id_column"],
        )

    def selection(self) -> Selection:
        rows, sample = self.options["rows"], self.options["sample"]
        return Selection(
            kind="first" if rows else "sample" if sample else "all",
            count=rows or sample or 0,
            seed=secrets.randbelow(2**31) if sample else 0,
            part_size=self.options["part_size"],
        )

    def refuse_problems(self, batch: Batch) -> None:
        """Read the file; say every problem, and stop unless the rows may be left out."""
        upload = read_upload(batch)
        recipe = fitting_recipe(upload, self.recipe_as_given())
        if upload.state == Upload.State.REFUSED:
            self.list_problems(upload, None, Limits())
            way_out = " Choose its encoding: --encoding NAME" if is_undecodable(upload) else ""
            raise CommandError(
                f"The file cannot be read. Nothing was sent.{way_out}", returncode=REFUSED
            )
        limits = read_limits(batch)
        faults = check_recipe(recipe, upload, limits) if recipe else []
        for fault in faults:
            self.say(fault.sentence())
        if faults:
            raise CommandError("The recipe does not fit. Nothing was sent.", returncode=REFUSED)
        if recipe and not limits.knows(recipe.model):
            self.say(f"{recipe.model} is not in the list of models of this key.")
        rows = self.list_problems(upload, recipe, limits)
        if rows and not self.options["leave_out"]:
            raise CommandError(
                f"{rows:,} of {upload.rows:,} rows have problems. Nothing was sent. Mend the file, "
                "or leave those rows out: --leave-out",
                returncode=REFUSED,
            )

    def list_problems(self, upload: Upload, recipe: Recipe | None, limits: Limits) -> int:
        """Print each problem as a line; the number of rows that have one."""
        word = "Line" if upload.kind == Upload.Kind.REQUESTS else "Row"
        rows = set()
        for problem in starting.find_problems(upload, recipe, limits):
            rows.add(problem.row)
            self.say(problem.sentence(word))
        return len(rows)

    def refuse_twin(self, batch: Batch) -> None:
        upload = batch.upload
        twin = starting.same_batch(upload, batch.recipe) if upload else None
        if twin is not None and not self.options["again"]:
            raise CommandError(
                f"Batch {twin.pk} sends this file with this recipe already. Go on with it: "
                f"--resume {twin.pk}. To send it a second time and pay twice: --again",
                returncode=REFUSED,
            )

    def resume(self) -> Batch:
        """The Batch to go on with; a person asking is reason to try again what was set aside."""
        batch = find_batch(self.options["resume"], self.options["workspace"])
        if batch.state == Batch.State.DRAFT:
            raise CommandError(
                f"Batch {batch.pk} is a draft that was never started. Start it anew from its file.",
                returncode=REFUSED,
            )
        ensure_key(batch.workspace, self.say)
        starting.revive(batch)
        return batch

    def wait(self, batch: Batch) -> int:
        stop = threading.Event()
        catch_signals(stop)
        asked = follow(batch, stop, self.say)
        written = stop.is_set() or self.write_output(batch)
        self.ask(asked)
        if asked or not written:
            return PERSON_DECIDES
        if not batch.final:
            self.say(
                f"Stopped. What was sent goes on at the API. Go on: manage.py run_batch "
                f"--resume {batch.pk}, or leave it to manage.py poll_batches"
            )
            return INTERRUPTED
        self.say(summarise(batch))
        for line in why_errored(batch):
            self.say(line)
        return EVERY_ROW_SUCCEEDED if batch.every_row_succeeded else SOME_DID_NOT

    def write_output(self, batch: Batch) -> bool:
        """Write what there is where it is wanted; False, and what to do, when that fails."""
        output = self.options["output"]
        if output is None:
            return True
        try:
            write_export(batch, output)
        except (OSError, ExportRefused) as error:
            self.say(
                f"{output} was not written: {error}. Nothing is lost. Write it again: "
                f"manage.py export_batch {batch.pk} {output}"
            )
            return False
        self.say(f"Results: {output}")
        return True

    def ask(self, asked: list[Question]) -> None:
        for question in asked:
            self.say(f"{question.sentence} {question.in_a_shell}".rstrip())
            command = f"manage.py resolve_part {question.part}"
            if question.turned_up:
                self.say(f"  Keep its answers:            {command} adopt {question.turned_up}")
                self.say(f"  Leave them at the API:       {command} leave")
            elif question.part:
                self.say(f"  It is at the API after all:  {command} adopt MSGBATCH_ID")
                self.say(
                    f"  Send it a second time:       {command} send-again --confirm {question.size}"
                )
                self.say(f"  Do not send these rows:      {command} drop")


def check_output(path: Path | None) -> None:
    if path is None:
        return
    try:
        check_place(path)
        find_format(path)
    except ExportRefused as error:
        raise CommandError(f"--output: {error}", returncode=REFUSED) from None


def read_upload(batch: Batch) -> Upload:
    upload = batch.upload
    if upload is None:
        raise ValueError(f"{batch} has no upload")
    while upload.state == Upload.State.QUEUED:
        if not parsing.step(database_now(), batch):
            time.sleep(REST)  # another worker reads it
        upload.refresh_from_db()
        if upload.crashes >= CRASH_LIMIT:
            raise CommandError("Reading the file stopped several workers.", returncode=REFUSED)
    return upload


def is_undecodable(upload: Upload) -> bool:
    return any(problem.get("field") == "encoding" for problem in upload.first_problems)


def read_limits(batch: Batch) -> Limits:
    """What the key's models allow, read first where they were not read today."""
    refreshing.step(database_now(), batch)
    key = batch.workspace.live_key()
    return Limits(key.models if key else [])


def check_recipe(recipe: Recipe, upload: Upload, limits: Limits) -> list[Problem]:
    return check(
        recipe,
        upload.columns,
        api_version=settings.CLAUDE_API_VERSION,
        most_tokens=limits.most_tokens(recipe.model),
    )


def fitting_recipe(upload: Upload, recipe: Recipe | None) -> Recipe | None:
    """Ready requests carry no recipe, a table cannot do without one."""
    ready = upload.kind == Upload.Kind.REQUESTS
    if ready and recipe is not None:
        raise CommandError(
            "The file holds ready requests: leave --model and --prompt out, or give a table.",
            returncode=REFUSED,
        )
    if not ready and recipe is None and upload.state == Upload.State.READY:
        raise CommandError("A table needs --model and --prompt.", returncode=REFUSED)
    return recipe


def find_batch(number: int, slug: str) -> Batch:
    batches = Batch.objects.filter(pk=number, deleting_at=None)
    if slug:
        batches = batches.filter(workspace__slug=slug)
    batch = batches.select_related("workspace", "upload").first()
    if batch is None:
        raise CommandError(f"There is no batch {number} here.", returncode=REFUSED)
    return batch


def catch_signals(stop: threading.Event) -> None:
    """The first Ctrl-C lets the step in hand finish, the second does not wait for it."""

    def finish(number: int, frame: object) -> None:
        if stop.is_set():
            sys.exit(INTERRUPTED)
        stop.set()

    signal.signal(signal.SIGINT, finish)
    signal.signal(signal.SIGTERM, finish)
