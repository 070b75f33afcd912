"""Bytes to text: which encoding a file is in, proven over the whole of it, and its lines."""

import codecs
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from batches.parsing.encodings import name_of
from batches.problems import FileRefused, Problem

CHUNK = 1 << 20
SAMPLE = 1 << 16
LINE_LIMIT = 32_000_000  # characters; a longer line is no row that could be sent

MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# They decode whatever comes, or not by characters.
NOT_FOR_FILES = ("idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "utf-7")


def choose_encoding(path: Path, chosen: str) -> str:
    """The file's byte order mark, else what the person chose, else UTF-8."""
    with open(path, "rb") as file:
        head = file.read(SAMPLE)
    for mark, encoding in MARKS:
        if head.startswith(mark):
            return encoding
    if chosen:
        return _known(chosen)
    _refuse_unmarked_utf16(head)
    return "utf-8"


def _known(name: str) -> str:
    """The codec's own name, for an encoding that can hold a table."""
    try:
        known = codecs.lookup(name).name.replace("_", "-")
        survives = 'a1,;\t|"\r\n{}'.encode(name).decode(name) == 'a1,;\t|"\r\n{}'
    except (LookupError, ValueError):
        survives = False
    if not survives or known in NOT_FOR_FILES:
        raise FileRefused(
            Problem(
                f"`{name[:40]}` is not an encoding that files are read in.",
                fix="Choose utf-8, utf-16, cp1252 or another codec of Python.",
                field="encoding",
            )
        )
    return known


def _refuse_unmarked_utf16(head: bytes) -> None:
    """UTF-16 of plain letters is sound UTF-8 too: half of its bytes are NUL."""
    if head.count(0) * 4 < len(head) or not head:
        return
    offset = head.index(0)
    encoding = "utf-16-le" if offset % 2 else "utf-16-be"
    raise FileRefused(
        Problem(
            f"Not UTF-8 text: byte 0x00 at offset {offset:,}.",
            fix=f"Save it as UTF-8; if it is {name_of(encoding)}, choose that (`{encoding}`).",
            field="encoding",
            choice=encoding,
        )
    )


def first_undecodable(path: Path, encoding: str) -> int | None:
    """Offset of the first byte that is not of this encoding; None if the whole file is."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset = 0
    with open(path, "rb") as file:
        while True:
            chunk = file.read(CHUNK)
            pending = decoder.getstate()[0]
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return offset - len(pending) + error.start
            if not chunk:
                return None
            offset += len(chunk)


def read_sample(path: Path, encoding: str) -> tuple[str, bool]:
    """The beginning of the file as text, and whether that is all of it."""
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    with open(path, "rb") as file:
        text = decoder.decode(file.read(SAMPLE))
        return text.removeprefix("\ufeff"), not file.read(1)


def open_text(path: Path, encoding: str, errors: str = "strict") -> IO[str]:
    """The file as text with every line end as it stands."""
    return open(path, encoding=encoding, errors=errors, newline="")


class TextLines:
    """Lines with their ends, of bounded length, without a byte order mark; the newest is kept."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._number = 0
        self._peeked: str | None = None
        self.newest = ""

    def skip_first(self, is_wanted: Callable[[str], bool]) -> int:
        """Read over the first line if it is so; how many lines that were."""
        self._peeked = next(self, "")
        if not is_wanted(self._peeked):
            return 0
        self._peeked = None
        return 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._peeked:
            line, self._peeked = self._peeked, None
            return line
        line = self._file.readline(LINE_LIMIT)
        if not line:
            raise StopIteration
        self._number += 1
        if len(line) == LINE_LIMIT:
            raise FileRefused(
                Problem(
                    f"Line {self._number:,} of the file is longer than {LINE_LIMIT:,} characters.",
                    fix="Look whether the file has line ends, and is text at all.",
                )
            )
        self.newest = line.removeprefix("\ufeff") if self._number == 1 else line
        return self.newest


def utf8_chunks(path: Path, encoding: str) -> Iterator[bytes]:
    """The file's bytes as UTF-8 without a byte order mark; unchanged if they are UTF-8."""
    if encoding != "utf-8":
        with open_text(path, encoding) as text:
            yield text.read(CHUNK).removeprefix("\ufeff").encode()
            while part := text.read(CHUNK):
                yield part.encode()
        return
    with open(path, "rb") as file:
        yield file.read(CHUNK).removeprefix(codecs.BOM_UTF8)
        while chunk := file.read(CHUNK):
            yield chunk
