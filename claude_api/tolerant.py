"""The second look at JSON that msgspec refuses, and text made fit to be stored and shown.

Refused are lone surrogates, invalid UTF-8, nesting beyond the stack and integers beyond 64 bits;
the API's answers carry what a model wrote, so all of them happen.
"""

import json
import re
from typing import Any

import msgspec

REFUSALS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
# In JSON a NUL can only stand as an escape; msgspec lets it through.
NUL_ESCAPE = rb"\u0000"
DEPTH_LIMIT = 100
DIGITS_LIMIT = 18
_UNSAFE = re.compile("[\x00\ud800-\udfff]")
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]', re.DOTALL)


def clean(text: str) -> str:
    """Replace NUL and lone surrogates, which no database and no UTF-8 file takes."""
    return _UNSAFE.sub("\ufffd", text)


def decode_clean(data: bytes) -> Any:
    """Decode JSON, exactly where msgspec can and as far as it goes elsewhere; no string holds
    NUL or a lone surrogate. Raises ValueError for what is no JSON.
    """
    if NUL_ESCAPE not in data:
        try:
            return msgspec.json.decode(data)
        except REFUSALS:
            pass
    return decode_tolerantly(data)


def decode_tolerantly(data: bytes) -> Any:
    """Decode JSON as far as it goes, every string of it clean. Raises ValueError.

    Values nested deeper than 100 levels become null, integers of more than 18 digits floats.
    """
    text = _prune(data).decode(errors="replace")
    return _clean_value(json.loads(text, parse_int=_read_integer, strict=False))


def _read_integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= DIGITS_LIMIT else float(digits)


def _prune(data: bytes) -> bytes:
    """Put null in the place of every array and object below the depth limit."""
    kept: list[bytes] = []
    depth, start = 0, 0
    for match in _TOKEN.finditer(data):
        token = match[0]
        if token in (b"{", b"["):
            depth += 1
            if depth == DEPTH_LIMIT + 1:
                kept.append(data[start : match.start()])
        elif token in (b"}", b"]"):
            depth -= 1
            if depth == DEPTH_LIMIT:
                kept.append(b"null")
                start = match.end()
    if depth <= DEPTH_LIMIT:
        kept.append(data[start:])
    return b"".join(kept)


def _clean_value(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_clean_value(item) for item in value]
    if isinstance(value, dict):
        return {clean(name): _clean_value(item) for name, item in value.items()}
    return value
