"""The six operations on Message Batches."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from sandbox.errors import ApiError, TooLargeError, invalid, not_found
from sandbox.failing import Failures
from sandbox.identifiers import drawn
from sandbox.ledger import Entry
from sandbox.lifecycle import Batch, counted, planned_end, shown
from sandbox.paging import envelope, read_cursor
from sandbox.receiving import Received, receive
from sandbox.requests import (
    COUNTS_EARLY,
    EFFECT,
    PLAIN,
    REQUEST_ID,
    SCOPE,
    UNSEEN,
    VERSION,
    Streamed,
    encoding,
    received,
    reply,
    unsupported,
)
from sandbox.results import result_lines
from sandbox.scopes import Scope

BODY_LIMIT = 256 << 20
WRITE_SIZE = 1 << 20
CHUNK_SIZE = 256 << 10
POLL_HINT = {"retry-after": "10"}
JSONL = "application/x-jsonl"

routes = web.RouteTableDef()


@routes.post("/v1/messages/batches")
async def create(request: web.Request) -> web.Response:
    """The batch exists once its whole body was accepted and written; the reply comes after."""
    scope = request[SCOPE]
    directory = scope.store.new_directory()
    try:
        batch = await _create(request, directory)
    except ApiError as error:
        _record(request, Entry("refused", scope.now(), request[REQUEST_ID], status=error.status))
        raise
    finally:
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
    return reply(_shown(request, batch, batch.created_at))


async def _create(request: web.Request, directory: Path) -> Batch:
    scope, version = request[SCOPE], request[VERSION]
    rate = scope.settings.failure_rate
    spool = directory / "body"
    await _spool(request, spool)
    await received(request)
    content = await asyncio.to_thread(_receive, spool, version, rate)
    batch = new_batch(scope, version, rate, content)
    scope.store.add(batch, directory)
    entry = Entry(
        kind="create",
        at=batch.created_at,
        request_id=request[REQUEST_ID],
        id=batch.id,
        size=batch.size,
        custom_ids=content.custom_ids,
    )
    _record(request, entry)
    return batch


async def _spool(request: web.Request, spool: Path) -> None:
    """The body goes to disk as it comes; above the limit nothing more of it is read."""
    if (request.content_length or 0) > BODY_LIMIT:
        raise TooLargeError
    if encoding(request) != PLAIN:
        raise unsupported(encoding(request))
    size = 0
    waiting = bytearray()
    with spool.open("wb") as file:
        async for part in request.content.iter_any():
            size += len(part)
            if size > BODY_LIMIT:
                raise TooLargeError
            waiting += part
            if len(waiting) >= WRITE_SIZE:
                await asyncio.to_thread(file.write, bytes(waiting))
                waiting.clear()
        file.write(waiting)


def _receive(spool: Path, version: str, failure_rate: float) -> Received:
    with spool.open("rb") as body:
        content = receive(body, spool.parent, version, Failures(failure_rate))
    spool.unlink()
    return content


def new_batch(scope: Scope, version: str, failure_rate: float, content: Received) -> Batch:
    identifier = drawn("msgbatch")
    created_at = scope.now()
    return Batch(
        id=identifier,
        sequence=0,
        version=version,
        failure_rate=failure_rate,
        created_at=created_at,
        ends_at=planned_end(identifier, created_at, scope.settings.batch_seconds),
        size=len(content.custom_ids),
        succeeding=content.succeeding,
    )


@routes.get("/v1/messages/batches")
async def list_batches(request: web.Request) -> web.Response:
    scope = request[SCOPE]
    seen_until = scope.now() - request[UNSEEN] if UNSEEN in request else None
    batches, has_more = scope.store.page(read_cursor(request), seen_until)
    return reply(envelope([_shown(request, batch) for batch in batches], has_more))


@routes.get("/v1/messages/batches/{id}")
async def retrieve(request: web.Request) -> web.Response:
    batch = _batch(request)
    ended = batch.has_ended(request[SCOPE].now())
    return reply(_shown(request, batch), headers=None if ended else POLL_HINT)


@routes.post("/v1/messages/batches/{id}/cancel")
async def cancel(request: web.Request) -> web.Response:
    """The API does not say what a second cancel, or one after the end, does: here nothing."""
    await received(request)
    scope, batch = request[SCOPE], _batch(request)
    if batch.cancel(scope.now()):
        scope.store.save(batch)
    _record(request, Entry("cancel", scope.now(), request[REQUEST_ID], id=batch.id))
    return reply(_shown(request, batch))


@routes.get("/v1/messages/batches/{id}/results")
async def results(request: web.Request) -> web.StreamResponse:
    scope, batch = request[SCOPE], _found(request)
    if not batch.is_available(scope.now()) or _is_unseen(request, batch.ended_at):
        raise not_found(f"Message Batch {batch.id} has no available results.")
    return Streamed(_chunks(scope, batch), JSONL)


async def _chunks(scope: Scope, batch: Batch) -> AsyncGenerator[bytes]:
    lines = result_lines(batch, scope.store.requests(batch))
    while chunk := await asyncio.to_thread(_take, lines):
        yield chunk


def _take(lines: Iterator[bytes]) -> bytes:
    """Enough lines for one write; nothing at the end."""
    chunk = bytearray()
    for line in lines:
        chunk += line
        if len(chunk) >= CHUNK_SIZE:
            break
    return bytes(chunk)


@routes.delete("/v1/messages/batches/{id}")
async def delete(request: web.Request) -> web.Response:
    await received(request)
    scope, batch = request[SCOPE], _batch(request)
    if not batch.has_ended(scope.now()):
        message = "In progress batches cannot be deleted. Consider canceling the batch instead."
        raise invalid(message)
    scope.store.remove(batch)
    _record(request, Entry("delete", scope.now(), request[REQUEST_ID], id=batch.id))
    return reply({"id": batch.id, "type": "message_batch_deleted"})


def _found(request: web.Request) -> Batch:
    return request[SCOPE].store.find(request.match_info["id"])


def _batch(request: web.Request) -> Batch:
    batch = _found(request)
    if _is_unseen(request, batch.created_at):
        raise not_found(f"Message Batch {batch.id} not found.")
    return batch


def _is_unseen(request: web.Request, since: datetime) -> bool:
    return UNSEEN in request and since > request[SCOPE].now() - request[UNSEEN]


def _record(request: web.Request, entry: Entry) -> None:
    request[SCOPE].ledger.append(entry)
    if entry.id is not None:
        request[EFFECT] = entry.id


def _shown(request: web.Request, batch: Batch, at: Any = None) -> dict[str, Any]:
    """The MessageBatch, with a results address on the host that the client dialled.

    A create answers as of the creation: `in_progress`, however short the batch.
    """
    scope = request[SCOPE]
    at = at or scope.now()
    ended = batch.has_ended(at)
    done = batch.done(at) if COUNTS_EARLY in request else 0
    counts = counted(processing=batch.size - done, succeeded=done)
    if ended:
        counts = scope.store.count(batch)
    url = f"{request.scheme}://{request.host}/v1/messages/batches/{batch.id}/results"
    return shown(batch, counts, at, url)
