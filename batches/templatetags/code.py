"""JSON in a figure of its own, and names in backticks."""

import re
from typing import Any

import msgspec
from django import template
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

from batches import json_text

register = template.Library()
_BACKTICKS = re.compile(r"`([^`]+)`")


@register.inclusion_tag("batches/code.html")
def json_code(title: str, value: Any, id: str, raw: str = "") -> dict[str, Any]:
    """A figure with a [Copy] button. `value` is JSON as bytes, or something to make it of.

    Of a long text the beginning is shown, and `raw` is the address of all of it.
    """
    text = json_text.indent(value if isinstance(value, bytes) else msgspec.json.encode(value))
    is_cut = len(text) > json_text.SHOWN
    return {"title": title, "code": json_text.mark(text), "id": id, "raw": raw, "is_cut": is_cut}


@register.filter
def backticks(text: str) -> SafeString:
    """`name` as code, everything else as it is."""
    return mark_safe(_BACKTICKS.sub(r"<code>\1</code>", conditional_escape(text)))
