"""`make prices`: write claude_api/prices.json from the package genai-prices, offline."""

import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.metadata import version
from typing import Any

import msgspec
from genai_prices.data import providers
from genai_prices.types import ClauseEquals, ModelInfo, ModelPrice, TieredPrices

from claude_api.pricing import DAY, FILE, Listed, PriceList, Rates

# Our name of a kind of token, and the package's.
KINDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write_5m": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
}


def main() -> int:
    FILE.write_bytes(write(datetime.now(UTC).date()))
    sys.stdout.write(f"{FILE}: the prices of genai-prices {version('genai-prices')}\n")
    return 0


def write(day: date) -> bytes:
    """The file as of a day, its models in the order of their names."""
    models = dict(sorted(read_models(day)))
    source = f"genai-prices {version('genai-prices')}, from www.anthropic.com/pricing"
    encoded = msgspec.json.encode(PriceList(as_of=day, source=source, models=models))
    return msgspec.json.format(encoded, indent=2) + b"\n"


def read_models(day: date) -> Iterator[tuple[str, Listed]]:
    anthropic = next(provider for provider in providers if provider.id == "anthropic")
    for model in anthropic.models:
        price = model.get_prices(datetime.combine(day, time(), UTC))
        # What has no price for a kind of token is older than Message Batches.
        if all(getattr(price, theirs) is not None for theirs in KINDS.values()):
            listed = read_price(price)
            yield from ((name, listed) for name in names_of(model))


def names_of(model: ModelInfo) -> set[str]:
    """Its id and its other names, without the day of a release."""
    clauses = getattr(model.match, "or_", [model.match])
    names = [clause.equals for clause in clauses if isinstance(clause, ClauseEquals)]
    return {DAY.sub("", name) for name in [model.id, *names]}


def read_price(price: ModelPrice) -> Listed:
    rates: dict[str, Decimal] = {}
    long: dict[str, Decimal] = {}
    starts = set()
    value: Any
    for ours, theirs in KINDS.items():
        value = getattr(price, theirs)
        tiered = isinstance(value, TieredPrices)
        rates[ours] = value.base if tiered else value
        long[ours] = value.tiers[0].price if tiered else value
        starts |= {tier.start for tier in value.tiers} if tiered else set()
    if len(starts) > 1:
        raise ValueError(f"more tiers than one: {price}")
    searches: Any = price.web_searches_kcount
    return Listed(
        **rates,
        web_search=searches,
        long_from=starts.pop() if starts else None,
        long=Rates(**long) if long != rates else None,
    )


if __name__ == "__main__":
    sys.exit(main())
