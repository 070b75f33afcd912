"""JSON as text for people: indented, its keys and long strings marked, every character as sent."""

import re

import msgspec
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from claude_api.tolerant import REFUSALS, clean

SHOWN = 64_000  # characters
MOST_INDENTED = 2 << 20  # bytes
LONG = 400  # characters of a string, from where on it is folded
_LINE = re.compile(r'( *)("(?:[^"\\]|\\.)*": )?(.*)')


def indent(data: bytes) -> str:
    """The same JSON, a value a line; as it is where it is too large or too deep for that."""
    return clean((_format(data) or data).decode(errors="replace"))


def indent_document(text: str) -> str | None:
    """An answer that is a JSON object or array, indented; None for every other text."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    formatted = _format(text.encode(errors="replace"))
    return clean(formatted.decode(errors="replace")) if formatted else None


def _format(data: bytes) -> bytes | None:
    if len(data) > MOST_INDENTED:
        return None
    try:
        return msgspec.json.format(data, indent=2)
    except (*REFUSALS, ValueError):
        return None


def mark(text: str) -> SafeString:
    """What `indent` gave, as HTML, as far as it is shown."""
    lines = (_LINE.match(line) for line in text[:SHOWN].split("\n"))
    return format_html_join("\n", "{}", ((_mark_line(line),) for line in lines if line))


def _mark_line(line: re.Match[str]) -> SafeString:
    space, key, value = line[1], line[2] or "", _fold(line[3])
    if not key:
        return format_html("{}{}", space, value)
    return format_html('{}<span class="json-key">{}</span>: {}', space, key[:-2], value)


def _fold(value: str) -> str:
    if len(value) <= LONG:
        return value
    more = f"{len(value) - LONG:,} more characters"
    return format_html(
        '<details class="rest"><summary data-more="{}">{}</summary>{}</details>',
        more,
        value[:LONG],
        value[LONG:],
    )
