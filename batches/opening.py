"""One row of a Batch, opened: what was asked, what came back, and every attempt.

However many rows a Batch has, this reads one line of each file that it needs.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from batches import archive
from batches.exporting_rows import Judge, Outcome, ResultFiles
from batches.json_text import indent, indent_document
from batches.models import Batch, MessageBatch, Request, Result, Upload
from batches.reading import Filter, first_from, last_before
from claude_api.tolerant import decode_clean

SHOWN = 64_000  # characters of one block or cell
LINES = 6
LINE = 60  # characters


class Block(NamedTuple):
    """One content block of an answer; `kind` is text, json, thinking, tool, or the API's word."""

    kind: str
    text: str
    name: str = ""

    @property
    def shown(self) -> str:
        return self.text[:SHOWN]

    @property
    def is_cut(self) -> bool:
        return len(self.text) > SHOWN


class Cell(NamedTuple):
    """What a row has in one column, in two halves where it is long."""

    column: str
    text: str

    @property
    def head(self) -> str:
        """The first six lines, or as much of them as fits."""
        lines = self.text[: LINES * LINE].split("\n", LINES)
        return "\n".join(lines[:LINES])

    @property
    def rest(self) -> str:
        return self.text[len(self.head) : SHOWN]

    @property
    def is_cut(self) -> bool:
        return len(self.text) > SHOWN


class Attempt(NamedTuple):
    part: MessageBatch
    result: Result | None
    counts: bool

    @property
    def at(self) -> datetime | None:
        return self.part.sent_at or self.part.created_at


class Opened(NamedTuple):
    outcome: Outcome
    request: Request | None
    result: Result | None
    part: MessageBatch | None
    attempts: list[Attempt]
    cells: list[Cell]

    @property
    def number(self) -> int:
        return self.outcome.row.number

    def blocks(self) -> list[Block]:
        return list(read_blocks(self.outcome.line)) if self.outcome.answer else []

    def refusal(self) -> str:
        """What the API says of why Claude declined."""
        details = find(decode_line(self.outcome.line), "result", "message", "stop_details") or {}
        said = [details.get("category"), details.get("explanation")]
        return ": ".join(str(one) for one in said if one)

    def sent(self) -> bytes:
        """The request's line in the requests file; nothing where the file is gone."""
        if self.request is None or self.part is None or self.part.requests_fence is None:
            return b""
        path = archive.requests(self.part.pk, self.part.requests_fence)
        try:
            return archive.read_slice(path, self.request.offset, self.request.length)
        except FileNotFoundError:
            return b""


def open_row(batch: Batch, number: int) -> Opened | None:
    """The row by the number that the person sees; None where the Batch has no such row."""
    row, requests = find_row(batch, number), find_requests(batch, number)
    if row is None and not requests:
        return None
    row = row or archive.Row(number)
    judge = Judge(batch, batch.upload or Upload())
    counting = judge.find_attempts([row]).get(number)
    with ResultFiles() as files:
        outcome = next(judge.outcomes([row], files))
    chosen = counting.part.pk if counting else None
    attempts = list(make_attempts(batch, requests, chosen))
    request = next((one for one in requests if one.message_batch_id == chosen), None)
    return Opened(
        outcome,
        request,
        next((attempt.result for attempt in attempts if attempt.counts), None),
        counting.part if counting else None,
        attempts,
        list(name_cells(batch, row)),
    )


def find_row(batch: Batch, number: int) -> archive.Row | None:
    upload = batch.upload
    if upload is None or upload.rows_fence is None:
        return None
    try:
        return archive.read_row(upload.pk, upload.rows_fence, number)
    except FileNotFoundError:
        return None


def find_requests(batch: Batch, number: int) -> list[Request]:
    found = Request.objects.filter(batch=batch, row=number)
    return list(found.select_related("result").order_by("-pk"))


def make_attempts(batch: Batch, requests: list[Request], chosen: int | None) -> Iterator[Attempt]:
    """Newest first, without those whose part is still being built."""
    ids = [request.message_batch_id for request in requests]
    parts = MessageBatch.objects.visible().filter(batch=batch).in_bulk(ids)
    for request in requests:
        part = parts.get(request.message_batch_id)
        if part is not None:
            yield Attempt(part, getattr(request, "result", None), part.pk == chosen)


def name_cells(batch: Batch, row: archive.Row) -> Iterator[Cell]:
    columns = batch.upload.columns if batch.upload else []
    for column, cell in zip(columns, row.cells, strict=False):
        yield Cell(column, cell)


def read_blocks(line: bytes) -> Iterator[Block]:
    """The content of an answer in its order, neighbouring texts as one."""
    content = find(decode_line(line), "result", "message", "content")
    texts: list[str] = []
    for block in content if isinstance(content, list) else []:
        if isinstance(block, dict) and block.get("type") == "text":
            texts.append(str(block.get("text") or ""))
            continue
        yield from join_texts(texts)
        yield read_block(block)
    yield from join_texts(texts)


def join_texts(texts: list[str]) -> Iterator[Block]:
    """One block of the texts so far, which it empties."""
    text = "".join(texts)
    texts.clear()
    if document := indent_document(text):
        yield Block("json", document)
    elif text:
        yield Block("text", text)


def read_block(block: Any) -> Block:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "thinking":
        return Block("thinking", str(block.get("thinking") or ""))
    if kind == "tool_use":
        return Block("tool", show(block.get("input")), str(block.get("name") or ""))
    return Block(str(kind or "unknown"), show(block))


def show(value: Any) -> str:
    return indent(msgspec.json.encode(value))


def decode_line(line: bytes) -> Any:
    try:
        return decode_clean(line)
    except ValueError:
        return None


def find(value: Any, *names: str) -> Any:
    """A value in the depths of objects; None where one of them is not there."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def neighbours(batch: Batch, chosen: Filter, number: int) -> tuple[int | None, int | None]:
    """The answered rows before and after, of those that are chosen."""
    before = last_before(batch, chosen, number, 1)
    after = first_from(batch, chosen, number + 1, 1)
    return (before[0] if before else None, after[0].row if after else None)
