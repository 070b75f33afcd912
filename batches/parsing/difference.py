"""What another encoding would make of a file: the first word that reads differently."""

import re
from pathlib import Path
from typing import NamedTuple

from batches.parsing.decoding import CHUNK, MARKS

LOOKED_AT = 16 << 20
AROUND = 400
LONGEST = 40
_high = re.compile(rb"[\x80-\xff]")
_separator = re.compile(r'[\s,;|"]+')


class Difference(NamedTuple):
    encoding: str  # the other one
    here: str
    there: str


def is_marked(path: Path) -> bool:
    """Whether a byte order mark says the encoding, so that nobody needs to."""
    with open(path, "rb") as file:
        head = file.read(4)
    return any(head.startswith(mark) for mark, _ in MARKS)


def find_difference(path: Path, encoding: str) -> Difference | None:
    """UTF-8 against Windows-1252, or what was chosen against UTF-8; None where all is ASCII."""
    if encoding.startswith(("utf-16", "utf-32")):
        return None
    other = "cp1252" if encoding == "utf-8" else "utf-8"
    data = _around_first_high(path)
    here, there = (
        _separator.split(data.decode(one, errors="replace")) for one in (encoding, other)
    )
    for word, otherwise in zip(here, there, strict=False):
        if word != otherwise:
            return Difference(other, word[:LONGEST], otherwise[:LONGEST])
    return None


def _around_first_high(path: Path) -> bytes:
    """The bytes about the first that is not ASCII, from the beginning of its line at the most."""
    with open(path, "rb") as file:
        for offset in range(0, LOOKED_AT, CHUNK):
            chunk = file.read(CHUNK)
            if not chunk:
                break
            if found := _high.search(chunk):
                start = max(0, offset + found.start() - AROUND)
                file.seek(start)
                data = file.read(2 * AROUND)
                place = offset + found.start() - start
                return data[_word_start(data, place) :]
    return b""


def _word_start(data: bytes, place: int) -> int:
    found = re.search(rb'[^\s,;|"]*$', data[:place])
    return found.start() if found else place
