"""What the API says, under the API's own names. Keys not named here are ignored."""

from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec

AwareDatetime = Annotated[datetime, msgspec.Meta(tz=True)]


class RequestCounts(msgspec.Struct, frozen=True):
    """How many requests of a MessageBatch stand where.

    All of them are in `processing` until the whole batch ends (message_batch_request_counts
    in the official SDK); a client has to bear both that and counts that move earlier.
    """

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0

    @property
    def total(self) -> int:
        return self.processing + self.succeeded + self.errored + self.canceled + self.expired


class MessageBatch(msgspec.Struct, frozen=True):
    """`message_batch`. `processing_status` is in_progress, canceling, ended or a later word."""

    id: str
    processing_status: str
    request_counts: RequestCounts
    created_at: AwareDatetime
    expires_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    archived_at: AwareDatetime | None = None
    cancel_initiated_at: AwareDatetime | None = None
    results_url: str | None = None


class BatchPage(msgspec.Struct, frozen=True):
    """One page of a listing, newest first."""

    data: list[MessageBatch]
    has_more: bool = False
    first_id: str | None = None
    last_id: str | None = None


class Model(msgspec.Struct, frozen=True):
    """A model the key may use. Lifecycle, line and its dates exist since October 2026."""

    id: str
    display_name: str = ""
    created_at: AwareDatetime | None = None
    lifecycle: str | None = None
    line: str | None = None
    deprecated_at: AwareDatetime | None = None
    retires_at: AwareDatetime | None = None
    max_input_tokens: int | None = None
    max_tokens: int | None = None
    capabilities: dict[str, Any] | None = None


class ModelPage(msgspec.Struct, frozen=True):
    """One page of the model list."""

    data: list[Model]
    has_more: bool = False
    first_id: str | None = None
    last_id: str | None = None


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one answer; what the API leaves out or sends as null is 0.

    All input is input_tokens + cache_creation_input_tokens + cache_read_input_tokens. The two
    ephemeral fields divide cache_creation_input_tokens by lifetime; thinking_tokens is a part
    of output_tokens.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0
    thinking_tokens: int = 0
    web_search_requests: int = 0
    service_tier: str = ""
    inference_geo: str = ""


class ResultLine(msgspec.Struct, frozen=True):
    """What the index keeps of one line of a results file. All text is fit to be stored.

    `empty` is an answer without any content, as of a request that was refused at once.
    """

    custom_id: str
    type: str
    stop_reason: str = ""
    error_type: str = ""
    error_message: str = ""
    usage: Usage = Usage()
    preview: str = ""
    model: str = ""
    empty: bool = True


class ToolCall(NamedTuple):
    """A tool the model asks for; `input` is JSON text."""

    name: str
    input: str


class Answer(msgspec.Struct, frozen=True):
    """One results line whole, for exports and pages.

    `text` is all text blocks joined. Where there are none but tools were asked for, it is
    their input as JSON: of one call the object, of several an array.
    """

    custom_id: str
    type: str
    model: str = ""
    text: str = ""
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    stop_reason: str = ""
    error_type: str = ""
    error_message: str = ""
    request_id: str = ""
    usage: Usage = Usage()


class ReplyFacts(msgspec.Struct, frozen=True):
    """What the headers of the last reply said; empty where there was none."""

    request_id: str = ""
    workspace_id: str = ""
    date: datetime | None = None
    retry_after: float | None = None


class Event(NamedTuple):
    """One event of a message stream; `raw` is its data as received."""

    type: str
    data: dict[str, Any]
    raw: bytes = b""
