"""What a workspace got this month: from its parts, whose counts are kept with them."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from batches.models import MessageBatch
from workspaces.models import ApiKey, Workspace

INPUT = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")


class Month(NamedTuple):
    """`spent` is None while the cost of a part is not known, or where nothing is billed."""

    start: datetime
    answered: int
    succeeded: int
    tokens_in: int
    tokens_out: int
    spent: Decimal | None

    @property
    def not_succeeded(self) -> float:
        """Per cent."""
        return 100 * (self.answered - self.succeeded) / self.answered if self.answered else 0


def month_of(workspace: Workspace, at: datetime) -> Month:
    start = at.astimezone(ZoneInfo(workspace.timezone)).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    parts = MessageBatch.objects.filter(workspace=workspace, stored_at__gte=start)
    answered = succeeded = tokens_in = tokens_out = 0
    costs: list[Decimal | None] = []
    for answers, tokens, cost, api in parts.values_list("answers", "tokens", "cost", "api"):
        answered += sum(answers.values())
        succeeded += answers.get("succeeded", 0)
        tokens_in += sum(tokens.get(name, 0) for name in INPUT)
        tokens_out += tokens.get("output_tokens", 0)
        if api != ApiKey.Api.SANDBOX:
            costs.append(cost)
    known = [cost for cost in costs if cost is not None]
    spent = sum(known, Decimal()) if known and len(known) == len(costs) else None
    return Month(start, answered, succeeded, tokens_in, tokens_out, spent)
