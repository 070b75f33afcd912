"""What tokens cost, live and in a Message Batch, where it is half of that.

`prices.json` holds the live prices, the day they were looked up and where they are from; `make
prices` writes it anew. A model that is not in it has no price: what it costs is unknown, not 0.
"""

import re
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import cache, lru_cache
from pathlib import Path

import msgspec

from claude_api.types import Usage

FILE = Path(__file__).with_name("prices.json")
MILLION = 1_000_000
LIVE_SHARE = Decimal(1)
BATCH_SHARE = Decimal("0.5")
CENT = Decimal("0.01")
# What a request pays that may only be answered in the United States.
IN_THE_US = Decimal("1.1")
# Of Result.cost: a token of the cheapest kind is less than a millionth of a dollar.
SMALLEST = Decimal("0.00000001")
# An alias, and the same model by the day of its release: claude-haiku-4-5-20251001.
DAY = re.compile(r"[-@]20\d{6}$|-latest$")


class Rates(msgspec.Struct, frozen=True):
    """USD for a million tokens of each kind."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal

    def times(self, share: Decimal) -> "Rates":
        names = Rates.__struct_fields__
        return Rates(**{name: getattr(self, name) * share for name in names})


class Listed(Rates, frozen=True, omit_defaults=True):
    """A line of the file; `long` are the rates of requests with more than so many tokens in."""

    long_from: int | None = None
    long: Rates | None = None
    web_search: Decimal | None = None


class PriceList(msgspec.Struct, frozen=True):
    as_of: date
    source: str
    models: dict[str, Listed]


class Prices(msgspec.Struct, frozen=True):
    """What a model costs, in USD for a million tokens; `web_search` is for a thousand.

    A request with more than `long_from` tokens in pays `long` for all of its tokens.
    """

    rates: Rates
    as_of: date
    long_from: int | None = None
    long: Rates | None = None
    web_search: Decimal | None = None

    @property
    def input(self) -> Decimal:
        return self.rates.input

    @property
    def output(self) -> Decimal:
        return self.rates.output

    def rates_for(self, input_tokens: float) -> Rates:
        """The rates of a request that has so many tokens in, cached ones included."""
        if self.long is not None and self.long_from is not None and input_tokens > self.long_from:
            return self.long
        return self.rates


@cache
def price_list() -> PriceList:
    return msgspec.json.decode(FILE.read_bytes(), type=PriceList)


@lru_cache(maxsize=256)
def prices_of(model: str, share: Decimal = BATCH_SHARE) -> Prices | None:
    """By the model's id or alias, in a batch or at another share of the live price; None where
    its price is not known."""
    known = price_list()
    listed = known.models.get(model) or known.models.get(DAY.sub("", model))
    if listed is None:
        return None
    return Prices(
        rates=listed.times(share),
        as_of=known.as_of,
        long_from=listed.long_from,
        long=listed.long.times(share) if listed.long else None,
        web_search=listed.web_search,
    )


def cost(model: str, usage: Usage, share: Decimal = BATCH_SHARE) -> Decimal | None:
    """What an answer is billed with; None where the model's price is not known."""
    prices = prices_of(model, share)
    if prices is None or (usage.web_search_requests and prices.web_search is None):
        return None
    one_hour = usage.ephemeral_1h_input_tokens
    # What the API leaves open is of the kind that is its default.
    left_open = usage.cache_creation_input_tokens - one_hour
    five_minutes = max(usage.ephemeral_5m_input_tokens, left_open)
    read = usage.cache_read_input_tokens
    rates = prices.rates_for(usage.input_tokens + five_minutes + one_hour + read)
    tokens = (
        usage.input_tokens * rates.input
        + usage.output_tokens * rates.output
        + read * rates.cache_read
        + five_minutes * rates.cache_write_5m
        + one_hour * rates.cache_write_1h
    ) / MILLION
    if usage.inference_geo == "us":
        tokens *= IN_THE_US
    searches = usage.web_search_requests * (prices.web_search or Decimal(0)) / 1_000
    return (tokens + searches).quantize(SMALLEST)


def dollars(amount: Decimal, rounding: str = ROUND_HALF_UP) -> str:
    """$1,204.50, $9.56, $0.0009: two digits at least, so that nothing paid looks like nothing."""
    if amount >= CENT or amount <= 0:
        return f"${amount.quantize(CENT, rounding):,}"
    step = Decimal(1).scaleb(amount.adjusted() - 1)
    return f"${amount.quantize(step, rounding).normalize():f}"
