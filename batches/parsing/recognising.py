"""What a file is, whatever its name says: a table, ready requests, or nothing that is read here."""

import re
from pathlib import PurePath

import msgspec

from batches.problems import FileRefused, Problem

EXCEL = "In Excel: File › Save as › CSV UTF-8."
UNPACK = "Unpack it and upload the file inside."
SAVE_AS_CSV = "Export the table as CSV UTF-8."

# The first bytes of formats that people take for a table (their specifications, file(1)).
SIGNATURES = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old or a password-protected Excel workbook", EXCEL),
    (b"\x1f\x8b", "a gzip file", UNPACK),
    (b"BZh", "a bzip2 file", UNPACK),
    (b"\xfd7zXZ\x00", "an xz file", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd file", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (b"%PDF-", "a PDF", SAVE_AS_CSV),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", SAVE_AS_CSV),
    (b"\xff\xd8\xff", "a JPEG image", SAVE_AS_CSV),
    (b"GIF8", "a GIF image", SAVE_AS_CSV),
    (b"{\\rtf", "an RTF document", SAVE_AS_CSV),
    (b"PAR1", "a Parquet file", SAVE_AS_CSV),
    (b"SQLite format 3\x00", "an SQLite database", SAVE_AS_CSV),
)
JSON_NAMES = (".jsonl", ".ndjson", ".json")
OBJECT = re.compile(r'\{\s*(?:"|\}|$)')
ARRAY = re.compile(r'\[\s*(?:\{\s*["}]|\]|$)')
LOOKED_AT = 100  # lines that tell what a file is
NEARLY_ALL = 0.95
FRAME = {"custom_id", "params"}
REQUEST_FORM = 'Each line is {"custom_id": "...", "params": {...}}.'


def refuse_foreign(head: bytes, filename: str) -> None:
    """Raise FileRefused for the first bytes of a workbook, an archive, an image, a PDF."""
    what, fix = _foreign_kind(head)
    if what:
        suffix = PurePath(filename).suffix[:20]
        named = f" named {suffix}" if suffix else ""
        raise FileRefused(Problem(f"This is {what}{named}.", fix=fix))


def _foreign_kind(head: bytes) -> tuple[str, str]:
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(head)
    for signature, what, fix in SIGNATURES:
        if head.startswith(signature):
            return what, fix
    if re.match(rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype html|html|\?xml)", head):
        return "a web page or XML", SAVE_AS_CSV
    return "", ""


def _zip_kind(head: bytes) -> tuple[str, str]:
    if b"opendocument" in head:
        return "an OpenDocument file", "In LibreOffice: File › Save as › Text CSV, Unicode (UTF-8)."
    if any(part in head for part in (b"[Content_Types].xml", b"xl/", b"docProps/")):
        return "an Excel workbook", EXCEL
    return "a zip archive", UNPACK


def is_requests(sample: str, filename: str) -> bool:
    """Whether the text is JSON lines, by what it holds and, where that is open, by its name.

    Raises FileRefused for JSON that is not in lines.
    """
    lines = [line for line in sample.split("\n") if line.strip()]
    if not lines:
        return filename.lower().endswith(JSON_NAMES)
    first = lines[0].strip()
    named = filename.lower().endswith(JSON_NAMES)
    if ARRAY.match(first) and not (named and len(lines) > 1 and _is_json(first)):
        raise FileRefused(_array())
    if OBJECT.match(first):
        _refuse_many_lines(first, lines)
        _refuse_openai(first)
        _refuse_data(lines)
        return True
    if not named or not any(OBJECT.match(line.strip()) or _is_json(line) for line in lines[:20]):
        return False
    _refuse_data(lines)
    return True


def _array() -> Problem:
    fix = f"Put each of its items on a line: `jq -c '.[]' FILE > NEW.jsonl`. {REQUEST_FORM}"
    return Problem("This is one JSON array, not JSON lines.", fix=fix)


def _refuse_many_lines(first: str, lines: list[str]) -> None:
    """An object that goes on in the next line, which a broken object of one line does not."""
    goes_on = len(lines) > 1 and re.match(r'\s+["}\]]|\s*"[^"]*"\s*:', lines[1])
    if goes_on and not first.endswith("}") and not _is_json(first):
        fix = "Put each object on one line: `jq -c . FILE > NEW.jsonl`."
        raise FileRefused(Problem("Line 1 is not complete JSON.", fix=fix))


def _refuse_data(lines: list[str]) -> None:
    """Objects that are no requests at all; among requests, one is a problem of its line."""
    some = lines[:LOOKED_AT]
    if len(some) > 1 and not _is_json(some[-1]):
        some.pop()  # the sample may have cut it
    if sum(map(_is_data, some)) >= NEARLY_ALL * len(some):
        fix = 'Save it as CSV, or write each line as `{"custom_id": …, "params": …}`.'
        raise FileRefused(Problem("These are lines of data, not requests.", fix=fix))


def _is_data(line: str) -> bool:
    keys = _keys(line)
    # With messages it is the params of a request, which lacks its frame alone.
    return bool(keys) and not keys & {*FRAME, "messages"}


def _refuse_openai(first: str) -> None:
    keys = _keys(first)
    if "body" in keys and keys & {"method", "url"}:
        fix = f"{REQUEST_FORM} `params` is the body of a request to the Messages API."
        raise FileRefused(Problem("This is an OpenAI batch file.", fix=fix))


def _keys(line: str) -> set[str]:
    """Of the object in a line; none where the reading of that line says what is wrong with it."""
    try:
        return set(msgspec.json.decode(line, type=dict[str, msgspec.Raw]))
    except (msgspec.DecodeError, RecursionError):
        return set()


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
