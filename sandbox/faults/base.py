"""What every fault has: the operation it happens to, how often, and its layer."""

from collections.abc import Awaitable, Callable
from typing import Annotated, ClassVar, Literal

import msgspec
from aiohttp import web

Operation = Literal[
    "create", "list", "retrieve", "cancel", "delete", "results",
    "messages", "count_tokens", "models", "*",
]  # fmt: skip
Layer = Literal["world", "answer", "content", "delivery"]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Step = Callable[[web.Request], Awaitable[web.StreamResponse | None]]

# What is changed in a hurry by hand should not hang a sandbox for a week.
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]
Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]

BATCHES = "/v1/messages/batches"
OPERATIONS: dict[tuple[str, str], Operation] = {
    ("POST", BATCHES): "create",
    ("GET", BATCHES): "list",
    ("GET", f"{BATCHES}/{{id}}"): "retrieve",
    ("POST", f"{BATCHES}/{{id}}/cancel"): "cancel",
    ("DELETE", f"{BATCHES}/{{id}}"): "delete",
    ("GET", f"{BATCHES}/{{id}}/results"): "results",
    ("POST", "/v1/messages"): "messages",
    ("POST", "/v1/messages/count_tokens"): "count_tokens",
    ("GET", "/v1/models"): "models",
    ("GET", "/v1/models/{id}"): "models",
}
EVERY = frozenset(OPERATIONS.values())


class Fault(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    """`times` of the requests to `on` meet it, once `after` of them have passed.

    None means all of them. With a `share` each is drawn, always the same ones for a `seed`.
    """

    layer: ClassVar[Layer]
    operations: ClassVar[frozenset[Operation]] = EVERY

    on: Operation = "*"
    times: Annotated[int, msgspec.Meta(ge=1)] | None = 1
    after: Count = 0
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    seed: int = 0

    @property
    def kind(self) -> str:
        return str(self.__struct_config__.tag)

    def happens_to(self, operation: Operation) -> bool:
        return self.on in ("*", operation) and operation in self.operations

    def fits(self, response: web.StreamResponse) -> bool:
        """Whether the answer has what this fault spoils; what does not fit is not counted."""
        return True


class Interference(Fault, frozen=True, kw_only=True):
    """A fault around the handler: how far the request comes, then what is answered.

    Between the two it is written into the ledger, so that whoever sees the effect can read it.
    """

    async def advance(self, request: web.Request, step: Step) -> web.StreamResponse | None:
        return await step(request)

    async def finish(
        self, request: web.Request, response: web.StreamResponse | None
    ) -> web.StreamResponse:
        assert response is not None
        return response


class Spoiling(Fault, frozen=True, kw_only=True):
    """A fault in the content of a good answer."""

    layer = "content"

    def spoil(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        raise NotImplementedError
