"""What was estimated against what it came to, as a bar and as a sentence."""

from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any, Self

import msgspec

from batches.models import Batch, MessageBatch, Run
from claude_api.pricing import dollars

# The end of the longest line stays inside the picture.
WIDTH = Decimal("99.5")
ESTIMATED_TOKENS = ("input_tokens", "output_tokens", "output_most")


def at_most(amount: Decimal) -> str:
    """A limit is rounded up."""
    return dollars(amount, ROUND_CEILING)


class Span(msgspec.Struct, frozen=True):
    """What something may cost, in USD."""

    low: Decimal
    high: Decimal
    most: Decimal

    def __add__(self, other: "Span") -> "Span":
        return Span(self.low + other.low, self.high + other.high, self.most + other.most)

    @property
    def likely(self) -> str:
        return self.band("–")

    def band(self, between: str) -> str:
        """`$3.90–$5.20`; one amount where the two ends are shown alike."""
        ends = dollars(self.low), dollars(self.high)
        return between.join(dict.fromkeys(ends))


class Bar(msgspec.Struct, frozen=True):
    """A band for what is likely, a line to what it is at most, a tick for what it came to."""

    span: Span | None
    actual: Decimal | None = None
    why_unknown: str = ""
    why_above: str = ""
    sandboxed: bool = False

    @classmethod
    def of(cls, batch: Batch) -> Self | None:
        """None where nothing is known of what the Batch costs."""
        frozen = list(
            batch.runs.exclude(state=Run.State.REFUSED).values_list("estimate", flat=True)
        )
        span = add_spans(frozen)
        if span is None and batch.cost is None:
            return None
        return cls(
            span,
            batch.cost,
            why_unknown(batch),
            why_longer(batch, frozen),
            batch.message_batches.filter(api="sandbox").exists(),
        )

    @property
    def words(self) -> str:
        """`Estimated $3.90–$5.20, at most $9.56 · actual $4.44 · inside`."""
        said = []
        if self.span is not None:
            said.append(f"Estimated {self.span.likely}, at most {at_most(self.span.most)}")
        if self.actual is not None:
            word = "actual" if said else "Actual"
            said.append(f"{word} {billed(self.actual, self.sandboxed)}")
        elif self.why_unknown:
            said.append(self.why_unknown)
        return " · ".join([*said, *([self.verdict] if self.verdict else [])])

    @property
    def verdict(self) -> str:
        if self.span is None or self.actual is None:
            return ""
        if self.is_above:
            return f"above{self.why_above}"
        return "below" if self.actual < self.span.low else "inside"

    @property
    def is_above(self) -> bool:
        return bool(self.span and self.actual is not None and self.actual > self.span.high)

    @property
    def scale(self) -> Decimal:
        most = self.span.most if self.span else Decimal(0)
        return max(most, self.actual or Decimal(0)) or Decimal(1)

    def place(self, amount: Decimal) -> str:
        """Where an amount lies, as an SVG length."""
        return f"{amount / self.scale * WIDTH:.2f}%"

    @property
    def places(self) -> dict[str, str]:
        found = {}
        if self.span is not None:
            found["low"] = self.place(self.span.low)
            # A narrow range is still to be seen.
            narrowest = self.scale / 100
            found["likely"] = self.place(max(self.span.high - self.span.low, narrowest))
            found["most"] = self.place(self.span.most)
        if self.actual is not None:
            found["actual"] = self.place(self.actual)
        return found


def billed(amount: Decimal, sandboxed: bool) -> str:
    """What is paid; the sandbox's answers are free, and it is said what they would be."""
    if not sandboxed:
        return dollars(amount)
    return f"$0.00 (with a real key about {dollars(amount)})"


def add_spans(frozen: Iterable[Mapping[str, Any] | None]) -> Span | None:
    """Of all Runs together; None as soon as one of them has none."""
    total: Span | None = None
    for estimate in frozen:
        if not estimate or estimate.get("most") is None:
            return None
        span = msgspec.convert({name: estimate[name] for name in Span.__struct_fields__}, Span)
        total = span if total is None else total + span
    return total


def share(run: Run | None, requests: int) -> dict[str, Any] | None:
    """What was estimated for a Run, for so many of its requests; None where that is not known."""
    estimate = run.estimate if run else None
    whole = (estimate or {}).get("requests")
    if not estimate or not whole or estimate.get("most") is None:
        return None
    part = Decimal(requests) / whole
    amounts = {name: str(Decimal(estimate[name]) * part) for name in Span.__struct_fields__}
    tokens = {
        name: estimate[name] * requests / whole
        for name in ESTIMATED_TOKENS
        if estimate.get(name) is not None
    }
    return {**estimate, **amounts, **tokens, "requests": requests}


def why_unknown(batch: Batch) -> str:
    """What keeps the cost of an ended Batch from being known; nothing while it runs."""
    if batch.cost is not None or batch.state != Batch.State.ENDED:
        return ""
    if batch.message_batches.filter(state=MessageBatch.State.LOST).exists():
        return "actual unknown: answers are missing, and may be billed"
    return "actual unknown: a price is not known here"


def why_longer(batch: Batch, frozen: Iterable[Mapping[str, Any] | None]) -> str:
    """For a cost above the estimate: that the answers are longer than was expected."""
    expected = [(one or {}).get("output_tokens") for one in frozen]
    if not batch.succeeded or not expected or None in expected:
        return ""
    rows = sum((one or {}).get("requests", 0) for one in frozen)
    was = batch.tokens.get("output_tokens", 0) / batch.succeeded
    thought = sum(filter(None, expected)) / max(rows, 1)
    if was <= thought:
        return ""
    return f": answers of {was:,.0f} tokens on average, against {thought:,.0f}"
