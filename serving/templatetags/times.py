from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()
STEPS = ((60, 1, "s"), (3_600, 60, "min"), (86_400, 3_600, "h"), (7 * 86_400, 86_400, "d"))


def words(then: datetime, now: datetime) -> str:
    """`12 min ago`; the day itself once it is a week ago."""
    seconds = max(0, int((now - then).total_seconds()))
    for limit, size, unit in STEPS:
        if seconds < limit:
            return f"{seconds // size} {unit} ago"
    return f"{then.day} {then:%b %Y}"


@register.simple_tag
def ago(then: datetime) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        then.isoformat(),
        then.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        words(then, datetime.now(UTC)),
    )
