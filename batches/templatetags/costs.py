"""Money on pages: what is not known is a dash, and what was paid is never $0.00."""

from decimal import Decimal

from django import template

from batches import costing
from batches.templatetags.batch_rows import UNKNOWN
from workspaces.models import ApiKey

register = template.Library()


@register.filter
def dollars(amount: Decimal | None) -> str:
    """$9.56, $0.0009; and – for what nobody knows."""
    return UNKNOWN if amount is None else costing.dollars(Decimal(amount))


@register.filter
def billed(amount: Decimal, api: str) -> str:
    """What an answer of this API cost; the sandbox bills nothing."""
    return costing.billed(Decimal(amount), api == ApiKey.Api.SANDBOX)


@register.filter
def at_most(amount: Decimal | None) -> str:
    return UNKNOWN if amount is None else costing.at_most(Decimal(amount))


@register.filter
def millions(number: float | None) -> str:
    """4.1 M, 412,000: so many tokens."""
    if number is None:
        return UNKNOWN
    return f"{number / 1e6:,.1f} M" if number >= 999_950 else f"{number:,.0f}"
