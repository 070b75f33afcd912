"""From what was found in the requests of a draft to what they will cost.

At most: every answer as long as its max_tokens lets it be, nothing read from a cache. Likely: as
long as answers to the same recipe were; where there are none, a wide guess that says so.
"""

from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from batches.costing import Span, at_most, dollars
from batches.findings import Findings, Group
from batches.models import Batch, Run
from batches.recipe import digest
from claude_api.pricing import IN_THE_US, MILLION, SMALLEST, Prices, Rates, prices_of

# Of max_tokens, where nobody knows how long the answers are.
SHORT, LONG = 0.02, 0.5
# Around the mean of the answers that there are.
GIVE_OR_TAKE = 0.15
LOOKED_BACK = 20


class Trial(msgspec.Struct, frozen=True):
    """Answers that the same recipe has had: how many, and how long on average."""

    batch: int
    rows: int
    output_tokens: float


class Fit(NamedTuple):
    """Tokens by bytes; none of the counted requests has more than `worst` times as many."""

    base: float
    per_byte: float
    worst: float

    def tokens(self, size: float) -> float:
        return self.base + self.per_byte * size


class Forecast(msgspec.Struct, frozen=True):
    """What so many requests cost. `span` is None where a price or the tokens are not known."""

    requests: int
    output_most: int
    input_tokens: float | None = None
    output_tokens: float | None = None
    span: Span | None = None
    working: list[str] = []
    unpriced: list[str] = []
    trial: Trial | None = None
    as_of: str = ""
    searches: bool = False

    def freeze(self) -> dict[str, Any]:
        """For the Run: what was promised, whatever prices and answers become later."""
        spans = {
            name: str(getattr(self.span, name)) if self.span else None
            for name in Span.__struct_fields__
        }
        names = ("requests", "output_most", "input_tokens", "output_tokens", "as_of")
        return {name: getattr(self, name) for name in names} | spans


def forecast(findings: Findings, chosen: int, trial: Trial | None = None) -> Forecast:
    """What `chosen` of the rows cost, whichever they are."""
    share = chosen / findings.rows
    most_output = max((group.most_output for group in findings.groups), default=0)
    output_most = min(sum(group.output for group in findings.groups), chosen * most_output)
    priced = {group.model: prices_of(group.model) for group in findings.groups}
    common: dict[str, Any] = {
        "requests": chosen,
        "output_most": output_most,
        "unpriced": [model for model, prices in priced.items() if prices is None],
        "trial": trial,
        "searches": any(group.searches for group in findings.groups),
    }
    if not findings.tokens_are_counted:
        return Forecast(**common)
    lines = [fit(group.counted) for group in findings.groups]
    tokens = sum(map(total_tokens, findings.groups, lines))
    common["input_tokens"] = tokens * share
    common["output_tokens"] = trial.output_tokens * chosen if trial else None
    bills = [
        Bill(group, line, prices)
        for group, line in zip(findings.groups, lines, strict=True)
        if (prices := priced[group.model]) is not None
    ]
    if common["unpriced"] or not bills:
        return Forecast(**common)
    span, working = add_up(bills, chosen, share, trial), work_out(bills, chosen, share)
    day = bills[0].prices.as_of
    return Forecast(**common, span=span, working=working, as_of=f"{day.day} {day:%b %Y}")


def fit(counted: list[tuple[int, int]]) -> Fit:
    """A line through (bytes, tokens); through nothing where that is all that they allow."""
    size = sum(bytes for bytes, _ in counted) / len(counted)
    mean = sum(tokens for _, tokens in counted) / len(counted)
    spread = sum((bytes - size) ** 2 for bytes, _ in counted)
    slope = sum((bytes - size) * (tokens - mean) for bytes, tokens in counted)
    per_byte = slope / spread if spread else 0.0
    base = mean - per_byte * size
    if per_byte <= 0 or base < 0:
        base, per_byte = 0.0, mean / size
    worst = max(tokens / (base + per_byte * bytes) for bytes, tokens in counted if bytes)
    return Fit(base, per_byte, max(worst, 1.0))


def total_tokens(group: Group, line: Fit) -> float:
    return line.base * group.rows + line.per_byte * group.bytes


class Bill:
    """The sums of one group: what a token in costs at most and at least, and an answer."""

    def __init__(self, group: Group, line: Fit, prices: Prices) -> None:
        self.group, self.prices = group, prices
        self.tokens = total_tokens(group, line)
        self.mean_most = self.tokens / group.rows * line.worst
        self.longest = line.tokens(group.largest) * line.worst
        self.factor = IN_THE_US if group.us else Decimal(1)
        self.rates = prices.rates_for(self.tokens / group.rows)
        self.dearest = prices.rates_for(self.longest)
        self.cached = Decimal(group.cached_bytes) / Decimal(max(group.bytes, 1))

    def input_rate(self, rates: Rates, cached: Decimal) -> Decimal:
        return ((1 - self.cached) * rates.input + self.cached * cached) * self.factor

    @property
    def input_most(self) -> Decimal:
        rates = self.dearest
        return self.input_rate(rates, max(rates.cache_write_1h, rates.input))

    @property
    def output_most(self) -> Decimal:
        return self.dearest.output * self.factor

    def row_most(self) -> Decimal:
        return pay(self.longest, self.input_most) + pay(self.group.most_output, self.output_most)

    def limits(self, chosen: int = 0) -> tuple[int, float, float]:
        """How many rows, and tokens in and out of each at most: of all, or of some of them."""
        group, rows = self.group, chosen or self.group.rows
        whole = group.rows / rows
        output = min(group.output / rows, group.most_output)
        return rows, min(self.mean_most * whole, self.longest), output

    def most(self, chosen: int = 0) -> Decimal:
        rows, tokens, output = self.limits(chosen)
        return pay(tokens * rows, self.input_most) + pay(output * rows, self.output_most)

    def likely(self, trial: Trial | None) -> tuple[Decimal, Decimal]:
        most = float(self.group.output)
        short, long = most * SHORT, most * LONG
        if trial is not None:
            usual = trial.output_tokens * self.group.rows
            short, long = usual * (1 - GIVE_OR_TAKE), usual * (1 + GIVE_OR_TAKE)
        output = self.rates.output * self.factor
        low = pay(self.tokens, self.input_rate(self.rates, self.rates.cache_read))
        high = pay(self.tokens, self.input_rate(self.rates, self.rates.input))
        return low + pay(min(short, most), output), high + pay(min(long, most), output)


def pay(tokens: float, rate: Decimal) -> Decimal:
    return (Decimal(tokens) * rate / MILLION).quantize(SMALLEST)


def add_up(bills: list[Bill], chosen: int, share: float, trial: Trial | None) -> Span:
    """Of some of the rows: likely as much as their share, at most as the dearest of them."""
    likely = [bill.likely(trial) for bill in bills]
    part = Decimal(share)
    low, high = (sum(side, Decimal(0)) * part for side in zip(*likely, strict=True))
    if share < 1 and len(bills) > 1:
        most = min(sum((bill.most() for bill in bills), Decimal(0)), chosen * dearest(bills))
    else:
        most = sum((bill.most(chosen if share < 1 else 0) for bill in bills), Decimal(0))
    low, high = min(low, most), min(high, most)
    return Span(*(amount.quantize(SMALLEST) for amount in (low, high, most)))


def work_out(bills: list[Bill], chosen: int, share: float) -> list[str]:
    """The limit, line by line, as somebody would work it out on paper."""
    if share < 1 and len(bills) > 1:
        return [f"{chosen:,} × at most {at_most(dearest(bills))}, which is the dearest request"]
    lines = []
    for bill in bills:
        rows, tokens, output = bill.limits(chosen if share < 1 else 0)
        name = f"{bill.group.model}: " if len(bills) > 1 else ""
        lines.append(name + work_out_line(rows, tokens, "in", bill.input_most))
        lines.append(name + work_out_line(rows, output, "out", bill.output_most))
    return lines


def dearest(bills: list[Bill]) -> Decimal:
    return max(bill.row_most() for bill in bills)


def work_out_line(rows: int, tokens: float, way: str, rate: Decimal) -> str:
    total = dollars(pay(tokens * rows, rate))
    return f"{rows:,} × up to {tokens:,.0f} {way} × {dollars(rate)}/M = {total}"


def trial_of(batch: Batch) -> Trial | None:
    """The newest answers to the recipe of the draft: its own, else those of another batch."""
    wanted = (digest(batch.recipe), None if batch.recipe else batch.upload_id)
    ended = Batch.objects.filter(workspace_id=batch.workspace_id, deleting_at=None)
    ended = ended.filter(state=Batch.State.ENDED, succeeded__gt=0).exclude(pk=batch.pk)
    own = [batch] if batch.succeeded else []
    for other in [*own, *ended.order_by("-pk")[:LOOKED_BACK]]:
        sent = sent_recipe(other)
        if sent is not None and wanted == (digest(sent), None if sent else other.upload_id):
            mean = other.tokens.get("output_tokens", 0) / other.succeeded
            return Trial(other.pk, other.succeeded, mean) if mean else None
    return None


def sent_recipe(batch: Batch) -> dict[str, Any] | None:
    """The recipe of its Runs where they all have the same; its tokens are of all of them."""
    recipes = list(batch.runs.exclude(state=Run.State.REFUSED).values_list("recipe", flat=True))
    return recipes[0] if recipes and all(one == recipes[0] for one in recipes) else None
