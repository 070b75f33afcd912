"""An API that remembers what was made at it, in this process: its ledger is the truth."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.batches.stage import remote, result_line
from tests.scripted_api import BATCHES, Action, Answer, Drop, Reply, Request, ScriptedApi, refusal

# What the next create may meet, and whether it makes a batch nevertheless.
CREATES = {
    "created": True,
    "not read": False,
    "no answer": True,
    "failed": False,
    "failed after all": True,
    "garbled": True,
    "refused": False,
    "limited": False,
}
REPLIES: dict[str, Action] = {
    "no answer": Drop(),
    "failed": refusal(500, "api_error", "Internal server error"),
    "failed after all": refusal(529, "overloaded_error", "Overloaded"),
    "garbled": Reply(b"<html>Created</html>"),
    "refused": refusal(400, "invalid_request_error", "requests.0: not like this"),
    "limited": refusal(429, "rate_limit_error", "Slow down.", retry_after="2"),
}
ONE = re.compile(rf"{BATCHES}/(\w+)(/\w+)?")


@dataclass
class Made:
    """One batch at the API, with what will have become of each of its requests."""

    id: str
    custom_ids: list[str]
    created_at: datetime
    status: str = "in_progress"
    outcomes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[int]:
        return [int(custom_id.partition("_")[0]) for custom_id in self.custom_ids]

    @property
    def nonce(self) -> str:
        return self.custom_ids[0].partition("_")[2]

    def end(self, outcomes: list[str]) -> None:
        """As many as there are requests, the given ones again and again."""
        self.status = "ended"
        times = -(-len(self.custom_ids) // len(outcomes))
        self.outcomes = (outcomes * times)[: len(self.custom_ids)]

    def shown(self) -> dict[str, Any]:
        counts = {kind: self.outcomes.count(kind) for kind in set(self.outcomes)}
        return remote(self.id, len(self.custom_ids), self.status, self.created_at, **counts)

    def lines(self) -> list[bytes]:
        pairs = zip(reversed(self.custom_ids), reversed(self.outcomes), strict=True)
        return [result_line(custom_id, outcome) for custom_id, outcome in pairs]


class MemoryApi(ScriptedApi):
    """`next_create` is what the next create meets; `is_down` refuses whatever is asked.

    `lines_left_out` is how many lines the next results lack.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        super().__init__()
        self.clock = clock
        self.made: list[Made] = []
        self.deleted: set[str] = set()
        self.next_create = "created"
        self.is_down = False
        self.lines_left_out = 0

    def next_answer(self, method: str, path: str) -> Answer:
        if (method, path) == ("POST", BATCHES):
            meets, self.next_create = self.next_create, "created"
            return Drop(before_body=True) if meets == "not read" else self.creating(meets)
        return refusal(529, "overloaded_error", "Overloaded") if self.is_down else self.reply

    def creating(self, meets: str) -> Answer:
        def create(request: Request) -> Action:
            if not CREATES[meets]:
                return REPLIES[meets]
            ids = [line["custom_id"] for line in json.loads(request.body)["requests"]]
            made = self.make(ids)
            return REPLIES.get(meets, Reply(made.shown()))

        return create

    def make(self, custom_ids: list[str]) -> Made:
        made = Made(f"msgbatch_{len(self.made) + 1}", custom_ids, self.clock())
        self.made.append(made)
        return made

    def known(self) -> list[Made]:
        return [made for made in self.made if made.id not in self.deleted]

    def reply(self, request: Request) -> Action:
        if request.path == BATCHES:
            return self.list_page(request.query)
        found = ONE.fullmatch(request.path)
        assert found, request.path
        made = next((one for one in self.known() if one.id == found[1]), None)
        if made is None:
            return refusal(404, "not_found_error", "no such batch")
        return self.reply_of(made, request.method, found[2] or "")

    def reply_of(self, made: Made, method: str, what: str) -> Action:
        if what == "/results":
            left_out, self.lines_left_out = self.lines_left_out, 0
            return Reply(b"".join(made.lines()[left_out:]))
        if what == "/cancel" and made.status == "in_progress":
            made.status = "canceling"
        if method == "DELETE":
            self.deleted.add(made.id)
        return Reply(made.shown())

    def list_page(self, query: str) -> Reply:
        """Newest first; all of them are on one page."""
        shown = [made.shown() for made in reversed(self.known())]
        if before := re.search(r"before_id=(\w+)", query):
            ids = [one["id"] for one in shown]
            if before[1] not in ids:
                return refusal(404, "not_found_error", "no such cursor")
            shown = shown[: ids.index(before[1])]
        if "limit=1&" in f"{query}&":
            shown = shown[:1]
        first, last = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
        return Reply({"data": shown, "has_more": False, "first_id": first, "last_id": last})
