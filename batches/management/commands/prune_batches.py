from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from django.core.management.base import BaseCommand, CommandError, CommandParser

from batches import archive, pruning
from batches.models import Batch, Upload
from batches.words import count, say_size
from leases.clock import database_now
from workspaces import retention
from workspaces.lookup import REFUSED, workspace_named
from workspaces.models import Workspace


class Line(NamedTuple):
    """What is printed of one thing that goes."""

    kind: str
    id: int
    size: int
    since: datetime
    what: str

    def __str__(self) -> str:
        what = "".join(letter if letter.isprintable() else "?" for letter in self.what)
        size = say_size(self.size)
        return f"{self.kind:<15} {self.id:>8} {size:>10}  {self.since:%Y-%m-%d}  {what}"


class Command(BaseCommand):
    help = "Delete what is older than its workspace keeps, and uploads that were given up."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would go, no more")
        parser.add_argument("--workspace", default="", metavar="SLUG", help="only of this one")
        parser.add_argument(
            "--orphans",
            action="store_true",
            help="also remove files that no row names; never just after a restored backup",
        )

    def handle(self, *, dry_run: bool, workspace: str, orphans: bool, **options: Any) -> None:
        if workspace and orphans:
            said = "--orphans belong to no workspace: leave --workspace out."
            raise CommandError(said, returncode=REFUSED)
        self.dry_run, self.at = dry_run, database_now()
        chosen = [workspace_named(workspace)] if workspace else Workspace.objects.order_by("pk")
        number = size = 0
        for one in chosen:
            for line in self.prune(one):
                self.stdout.write(str(line))
                number, size = number + 1, size + line.size
        self.say(self.summary(number, size))
        if not workspace:
            self.prune_orphans(orphans)

    def say(self, line: str) -> None:
        self.stderr.write(line, style_func=str)

    def summary(self, number: int, size: int) -> str:
        if not number:
            return "Nothing is older than it is kept."
        if self.dry_run:
            return f"{count(number, 'line')}, {say_size(size)}. Nothing was changed."
        return f"{count(number, 'line')}, {say_size(size)}. The workers remove the files."

    def prune(self, workspace: Workspace) -> Iterator[Line]:
        """One line for each thing that goes, printed once it is on its way."""
        if workspace.retention_days is not None:
            before = retention.limit(workspace.retention_days, self.at)
            for batch in pruning.one_by_one(pruning.older_batches(workspace, before)):
                yield from self.prune_batch("batch", batch)
            for batch in pruning.one_by_one(pruning.older_drafts(workspace, before)):
                yield from self.prune_batch("draft", batch)
        for upload in pruning.abandoned_uploads(workspace, self.at):
            yield from self.prune_upload(upload)

    def prune_batch(self, kind: str, batch: Batch) -> Iterator[Line]:
        since, size = pruning.ended_at(batch), pruning.files_of(batch)
        if self.dry_run or pruning.prune_batch(batch, self.at):
            what = f"{batch.workspace.slug}: {batch.name}"
            yield Line(kind, batch.pk, size, since, what)

    def prune_upload(self, upload: Upload) -> Iterator[Line]:
        files = archive.measure("uploads", upload.pk)
        if self.dry_run or pruning.prune_upload(upload, self.at):
            what = f"{upload.workspace.slug}: {upload.filename}"
            if upload.received < upload.size:
                what += f", stopped at {100 * upload.received // upload.size} %"
            yield Line("upload", upload.pk, files.size, files.changed_at or self.at, what)

    def prune_orphans(self, wanted: bool) -> None:
        """List what no row names; remove it where that was said in so many words."""
        number = size = 0
        for orphan in pruning.find_orphans(self.at):
            if wanted and not self.dry_run and not pruning.remove_orphan(orphan, self.at):
                continue
            number, size = number + 1, size + orphan.size
            if wanted or self.dry_run:
                what = orphan.at_the_api and f"created as {orphan.at_the_api}"
                line = Line(orphan.kind, orphan.owner_id, orphan.size, orphan.changed_at, what)
                self.stdout.write(f"orphan {line}")
        if not number:
            return
        said = f"{count(number, 'directory').replace('directorys', 'directories')} without a row"
        if wanted and not self.dry_run:
            self.say(f"Removed {said}, {say_size(size)}.")
        else:
            self.say(f"{said}, {say_size(size)}: --orphans removes them. Not after a restore.")
