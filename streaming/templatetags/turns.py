"""What the pages of conversations say in figures, and text of a model as it is shown."""

from decimal import Decimal

import msgspec
from django import template
from django.utils.safestring import SafeString

from claude_api import pricing
from streaming.forms import new_token
from workspaces import markdown as markdown_of_models

register = template.Library()
UNKNOWN = "–"


@register.filter
def marked(text: str) -> SafeString:
    return markdown_of_models.render(text)


@register.filter
def thousands(number: int | None) -> str:
    """9,997; and – for what nobody knows."""
    return UNKNOWN if number is None else f"{number:,}"


@register.filter
def took(seconds: float | None) -> str:
    """0.8 s, 12 s, 4 min 12 s."""
    if seconds is None:
        return UNKNOWN
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes} min {left} s" if minutes else f"{left} s"


@register.filter
def one_line(text: str) -> str:
    return " ".join(text.split())


@register.filter
def short_model(name: str) -> str:
    """`haiku-4-5` where a column is narrow."""
    return name.removeprefix("claude-")


@register.filter
def dollars(amount: Decimal) -> str:
    """$9.56, $0.0009."""
    return pricing.dollars(amount)


@register.simple_tag
def token() -> str:
    """For a form whose button may be pressed twice."""
    return new_token()


@register.filter
def pretty(text: str) -> str:
    """JSON indented, where it is JSON; a call that was cut off is shown as it came."""
    try:
        return msgspec.json.format(text, indent=2)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return text
