"""Where a file stops being text of its encoding, and what it may be instead."""

import re
from pathlib import Path
from typing import NoReturn

from batches.parsing.decoding import TextLines, open_text
from batches.parsing.encodings import name_of
from batches.parsing.table import cut_records
from batches.problems import FileRefused, Problem

# Bytes that do not decode, as errors="surrogateescape" leaves them; no text holds them otherwise.
UNDECODED = re.compile("[\udc80-\udcff]+")
SAVE = "Save the file as UTF-8, or choose its encoding."


def refuse_undecodable(path: Path, encoding: str, delimiter: str, offset: int) -> NoReturn:
    """Name the row, the column and the byte at the offset, and how Windows-1252 reads it."""
    with open(path, "rb") as file:
        file.seek(offset)
        byte = file.read(1)[0]
    place, text = "", ""
    if not encoding.startswith(("utf-16", "utf-32")):
        place, text = (
            _find_in_table(path, encoding, delimiter)
            if delimiter
            else _find_in_lines(path, encoding)
        )
    place = place or f"Offset {offset:,}"
    what = f"{place}: byte 0x{byte:02X} is not {name_of(encoding)}."
    reading = _reading(text, encoding)
    if not reading:
        raise FileRefused(Problem(what, fix=SAVE, field="encoding"))
    raise FileRefused(
        Problem(
            f"{what} In Windows-1252 it reads `{reading}`.",
            fix="If that is right, choose Windows-1252 (`cp1252`). If not, save the file as UTF-8.",
            field="encoding",
            choice="cp1252",
        )
    )


def _find_in_table(path: Path, encoding: str, delimiter: str) -> tuple[str, str]:
    """Row and column of the first undecoded bytes, as a person would say it, and their cell."""
    names: list[str] = []
    with open_text(path, encoding, "surrogateescape") as file:
        try:
            for record in cut_records(TextLines(file), delimiter):
                if not names and not record.is_blank:
                    names = [cell.strip() for cell in record.cells]
                for place, cell in enumerate(record.cells):
                    if UNDECODED.search(cell):
                        return f"Row {record.number:,}, {_column(names, place)}", cell
        except FileRefused:
            # Its rows cannot be told apart either; the offset alone says where the byte is.
            return "", ""
    return "", ""


def _column(names: list[str], place: int) -> str:
    if place < len(names) and names[place] and not UNDECODED.search(names[place]):
        return f"column `{names[place][:60]}`"
    return f"column {place + 1:,}"


def _find_in_lines(path: Path, encoding: str) -> tuple[str, str]:
    with open_text(path, encoding, "surrogateescape") as file:
        for number, line in enumerate(TextLines(file), 1):
            if UNDECODED.search(line):
                return f"Line {number:,}", line
    return "", ""


def _reading(text: str, encoding: str) -> str:
    """The word around the undecoded bytes as Windows-1252 has it; empty where it has not."""
    found = UNDECODED.search(text)
    if found is None or encoding == "cp1252":
        return ""
    start = re.search(r"\w{0,20}$", text[max(0, found.start() - 20) : found.start()])
    end = re.match(r"[\w\udc80-\udcff]{0,20}", text[found.end() :])
    word = (start[0] if start else "") + found[0] + (end[0] if end else "")
    try:
        return word.encode(encoding, "surrogateescape").decode("cp1252")
    except UnicodeDecodeError:
        return ""
