"""Rows and archive become a file: CSV or JSONL, every row of the upload, in its order."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, get_args

from django.utils.text import slugify

from batches import archive
from batches.exporting_formats import write_csv, write_jsonl
from batches.exporting_rows import Ours, Outcome, iterate_outcomes
from batches.models import Batch, Match, Request, Result, Upload

Format = Literal["csv", "jsonl"]
FORMATS: tuple[Format, ...] = get_args(Format)
SLUG_LENGTH = 50


class ExportRefused(Exception):
    """There is nothing to export; the text says why."""


def export(
    batch: Batch,
    format: Format,
    *,
    exact: bool = False,
    bom: bool = False,
    wanted: Callable[[Outcome], bool] | None = None,
    counts: Counter[str] | None = None,
) -> Iterator[bytes]:
    """The file in chunks of about 64 KB, what there is by now; raises ExportRefused at once.

    CSV: cells that a spreadsheet would run get an apostrophe unless `exact`; `bom` is for
    Excel. JSONL is never altered. `wanted` says of each row whether the file has it; `counts`
    is given the number of its rows by type on the way.
    """
    if format not in FORMATS:
        raise ValueError(f"{format!r} is not one of {FORMATS}")
    upload = find_upload(batch)
    outcomes = iterate_outcomes(batch, upload)
    if wanted is not None:
        outcomes = filter(wanted, outcomes)
    if counts is not None:
        outcomes = tally(outcomes, counts)
    if format == "jsonl":
        return write_jsonl(outcomes)
    columns = upload.columns if upload.kind == Upload.Kind.TABLE else []
    return write_csv(columns, outcomes, exact=exact, bom=bom)


def find_upload(batch: Batch) -> Upload:
    upload = batch.upload
    if upload is None:
        return stand_in(batch)
    if upload.state == Upload.State.REFUSED:
        raise ExportRefused(f"The file of batch {batch.pk} was refused: it has no rows.")
    if upload.rows_fence is None:
        raise ExportRefused(f"The rows of batch {batch.pk} are not read yet. Try again later.")
    return upload


def stand_in(batch: Batch) -> Upload:
    """In the place of the file of an adopted Batch, which has none: its rows are its answers."""
    if Match.objects.filter(batch=batch, state=Match.State.CONFIRMED).exists():
        raise ExportRefused(
            f"Batch {batch.pk} was adopted: its rows are being numbered. Try again."
        )
    if not Request.objects.filter(batch=batch).exists():
        raise ExportRefused(f"Batch {batch.pk} was adopted, and its answers are not here yet.")
    return Upload(kind=Upload.Kind.REQUESTS, rows=batch.rows)


def tally(outcomes: Iterable[Outcome], counts: Counter[str]) -> Iterator[Outcome]:
    for outcome in outcomes:
        counts[outcome.type] += 1
        yield outcome


def write_export(
    batch: Batch,
    path: Path,
    format: Format | None = None,
    *,
    exact: bool = False,
    bom: bool = False,
    wanted: Callable[[Outcome], bool] | None = None,
) -> Counter[str]:
    """Write the file, which appears only when it is whole; the number of rows by type.

    The format is the one that the name ends in unless it is given.
    """
    counts: Counter[str] = Counter()
    format = format or find_format(path)
    chunks = export(batch, format, exact=exact, bom=bom, wanted=wanted, counts=counts)
    with archive.writing(path.resolve()) as file:
        file.writelines(chunks)
    return counts


def check_place(path: Path) -> None:
    """Raise ExportRefused where no file can be written; asked before anything is paid for."""
    folder = path.absolute().parent
    if path.is_dir():
        raise ExportRefused(f"{path} is a folder. Name a file in it.")
    if not folder.is_dir():
        raise ExportRefused(f"The folder {path.parent} does not exist.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ExportRefused(f"The folder {path.parent} cannot be written to.")


def find_format(path: Path) -> Format:
    for format in FORMATS:
        if path.suffix.lower() == f".{format}":
            return format
    raise ExportRefused(f"{path.name} ends neither in .csv nor in .jsonl.")


def say_counts(counts: Counter[str]) -> str:
    """Rows by type in words, the API's types first: 9,997 succeeded, 3 left out."""
    order = [name for name in Result.Type.values if name != Ours.MISSING]
    known = [*order, *(name for name in counts if name not in (*order, *Ours)), *Ours]
    said = (f"{counts[name]:,} {name.replace('_', ' ')}" for name in known if counts[name])
    return ", ".join(said) or "no rows"


def file_name(batch: Batch, format: Format, partial: bool) -> str:
    """What a download is called: review-themes-41.csv, with -partial while the batch runs."""
    slug = slugify(batch.name, allow_unicode=True)[:SLUG_LENGTH].strip("-_") or "batch"
    return f"{slug}-{batch.pk}{'-partial' if partial else ''}.{format}"
