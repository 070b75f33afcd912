"""JSON that people read, and names in backticks."""

import re
from typing import Any

import msgspec
from django import template
from django.utils.html import conditional_escape, escape, format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()
LONG = 400  # characters of a string, from where on it is folded
SHOWN = 64_000  # characters of a whole text
# A string with the colon that makes it a key; the last one may be cut off.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+("|$)(\s*:)?', re.DOTALL)
_BACKTICKS = re.compile(r"`([^`]+)`")


@register.inclusion_tag("batches/code.html")
def json_code(title: str, value: Any, id: str, raw: str = "") -> dict[str, Any]:
    """A figure with a [Copy] button. `value` is JSON as bytes, or something to make it of.

    Of a long text the beginning is shown, and `raw` is the address of all of it.
    """
    text = pretty(value)
    cut = len(text) > SHOWN
    code = highlighted(text[:SHOWN])
    return {"title": title, "code": code, "id": id, "raw": raw, "cut": cut, "size": len(text)}


def pretty(value: Any) -> str:
    encoded = value if isinstance(value, bytes) else msgspec.json.encode(value)
    try:
        return msgspec.json.format(encoded, indent=2).decode()
    except msgspec.DecodeError:
        return encoded.decode(errors="replace")


def highlighted(text: str) -> SafeString:
    """Keys quieter than values, long strings folded; the text itself stays as it is."""
    done, end = [], 0
    for match in _STRING.finditer(text):
        done.append(escape(text[end : match.start()]))
        done.append(_string(match))
        end = match.end()
    done.append(escape(text[end:]))
    return mark_safe("".join(done))


def _string(match: re.Match[str]) -> SafeString:
    if match[2]:
        return format_html('<span class="json-key">{}</span>', match[0])
    if len(match[0]) <= LONG:
        return escape(match[0])
    more = f"{len(match[0]) - LONG:,} more characters"
    start, rest = match[0][:LONG], match[0][LONG:]
    return format_html(
        '<details class="rest"><summary data-more="{}">{}</summary>{}</details>', more, start, rest
    )


@register.filter
def backticks(text: str) -> SafeString:
    """`name` as code, everything else as it is."""
    return mark_safe(_BACKTICKS.sub(r"<code>\1</code>", conditional_escape(text)))
