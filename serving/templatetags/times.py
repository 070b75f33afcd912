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


@register.simple_tag
def clock(then: datetime) -> SafeString:
    """`12:04`, in UTC until the page puts it into the viewer's zone."""
    return format_html(
        '<time datetime="{}" data-clock title="{} UTC">{}</time>',
        then.isoformat(),
        then.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        then.astimezone(UTC).strftime("%H:%M"),
    )


@register.simple_tag
def clock_seconds(then: datetime) -> SafeString:
    """`12:04:31`."""
    return format_html(
        '<time datetime="{}" data-clock="s" title="{} UTC">{}</time>',
        then.isoformat(),
        then.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        then.astimezone(UTC).strftime("%H:%M:%S"),
    )


@register.simple_tag
def elapsed(since: datetime) -> SafeString:
    """`4 min 12 s`: a clock that the page keeps going."""
    seconds = max(0, int((datetime.now(UTC) - since).total_seconds()))
    return format_html(
        '<time datetime="{}" data-since>{}</time>', since.isoformat(), duration(seconds)
    )


@register.filter
def duration(seconds: float) -> str:
    """`12 s`, `4 min 12 s`, `1 h 4 min`."""
    hours, rest = divmod(int(seconds), 3_600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


@register.simple_tag
def due(then: datetime) -> SafeString:
    """A time to come, in full: `tomorrow 14:05` once the page knows the viewer's day."""
    return format_html(
        '<time datetime="{}" data-due title="{} UTC">{}</time>',
        then.isoformat(),
        then.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        then.astimezone(UTC).strftime("%-d %b %H:%M UTC"),
    )
