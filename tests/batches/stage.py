"""Rows and files as one stage leaves them to the next, and what the API says of them."""

import json
import urllib.request
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from django.db import transaction

from batches import archive
from batches.models import Batch, MessageBatch, Request, Run, Upload
from workspaces.models import ApiKey, Workspace

PARAMS = b'{"model":"claude-haiku-4-5","max_tokens":16,"messages":[{"role":"user","content":"%s"}]}'
SECOND = timedelta(seconds=1)
MINUTE = 60 * SECOND
HOUR = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC)


def make_workspace(slug: str = "acme") -> Workspace:
    return Workspace.objects.create(name=slug.title(), slug=slug)


def make_upload(workspace: Workspace, cells: Iterable[str | None]) -> Upload:
    """A table of one column whose rows are read; None is a row that parsing refused."""
    count = workspace.uploads.count()
    upload = Upload.objects.create(
        workspace=workspace,
        filename="rows.csv",
        token=str(count),
        size=1,
        sha256=f"{count:064}",
        state=Upload.State.READY,
        kind=Upload.Kind.TABLE,
        columns=["text"],
        rows_fence=1,
    )
    with (
        archive.writing(archive.rows(upload.pk, 1)) as file,
        archive.writing(archive.rows_index(upload.pk, 1)) as index,
    ):
        for number, cell in enumerate(cells, 2):
            index.write(archive.INDEX_ENTRY.pack(number, file.tell()))
            cut = archive.Row(number, reason=f"Row {number}: it is broken.")
            row = cut if cell is None else archive.Row(number, cells=[cell])
            file.write(msgspec.json.encode(row) + b"\n")
            upload.rows += 1
    upload.save()
    return upload


def make_batch(workspace: Workspace, cells: Iterable[str | None] = ()) -> Batch:
    return Batch.objects.create(
        workspace=workspace,
        upload=make_upload(workspace, cells),
        name="Themes",
        recipe={"model": "claude-haiku-4-5", "prompt": "Label {{text}}", "max_tokens": 16},
    )


@transaction.atomic
def make_part(batch: Batch, size: int = 5, state: str = "queued", **fields: Any) -> MessageBatch:
    """A part of the next `size` rows of a built Run, its requests written and indexed."""
    built = {"batch": batch, "token": "built", "state": "built", "recipe": {}}
    run = fields.pop("run", None) or Run.objects.get_or_create(**built)[0]
    taken = Request.objects.filter(batch=batch).count()
    rows = fields.pop("rows", range(taken + 2, taken + 2 + size))
    number = batch.message_batches.count() + 1
    at = {"due_at": now() - SECOND, "api": "sandbox", "account": f"workspace:{batch.workspace_id}"}
    part = MessageBatch.objects.create(
        workspace=batch.workspace,
        batch=batch,
        run=run,
        part=number,
        state=state,
        size=size,
        requests_fence=1,
        **{**at, **fields},
    )
    write_requests(part, rows)
    batch.recount()
    return part


def write_requests(part: MessageBatch, rows: Iterable[int]) -> None:
    requests = []
    with archive.writing(archive.requests(part.pk, 1)) as file:
        for position, row in enumerate(rows):
            custom_id = f"{row}_{part.nonce}".encode()
            line = b'{"custom_id":"%s","params":%s}' % (custom_id, PARAMS % b"w\xc3\xb6rter")
            place = {"offset": file.tell(), "length": len(line)}
            id = Request.key(part.pk, position)
            requests.append(Request(id, batch=part.batch, row=row, own_id=str(row), **place))
            file.write(line + b"\n")
        part.bytes = file.tell()
    part.save(update_fields=["bytes"])
    Request.objects.bulk_create(requests)


def rows_of(part: MessageBatch) -> list[int]:
    return list(Request.objects.of(part.pk).order_by("pk").values_list("row", flat=True))


def body_of(part: MessageBatch) -> bytes:
    """What a POST of the part has to look like, made here the plain way."""
    lines = archive.requests(part.pk, part.requests_fence).read_bytes().splitlines()
    return b'{"requests":[' + b",".join(lines) + b"]}"


def remote(
    id: str, size: int = 5, status: str = "in_progress", at: datetime | None = None, **counts: int
) -> dict[str, Any]:
    """A message_batch as the API shows it; ended without counts means that all succeeded."""
    at = at or now()
    ended = status == "ended"
    counts = counts or ({"succeeded": size} if ended else {"processing": size})
    return {
        "id": id,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": counts,
        "created_at": at.isoformat(),
        "expires_at": (at + 24 * HOUR).isoformat(),
        "ended_at": at.isoformat() if ended else None,
    }


def result_line(custom_id: str, kind: str = "succeeded", text: str = "yes") -> bytes:
    message = {
        "model": "claude-haiku-4-5",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 7, "output_tokens": 3, "cache_read_input_tokens": 2},
    }
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": "too long"}}
    result: dict[str, Any] = {"type": kind}
    if kind == "succeeded":
        result["message"] = message
    if kind == "errored":
        result["error"] = error
    return json.dumps({"custom_id": custom_id, "result": result}).encode() + b"\n"


def result_lines(part: MessageBatch) -> list[bytes]:
    """A result for each row, in an order that is not that of the rows."""
    return [result_line(part.custom_id(row)) for row in reversed(rows_of(part))]


class SandboxScope:
    """One scope of the sandbox, seen from outside of the program under test."""

    def __init__(self, url: str, secret: str) -> None:
        self.url = url
        self.secret = secret

    def call(self, path: str, content: Any = None, method: str = "") -> Any:
        if content is not None and not isinstance(content, bytes):
            content = json.dumps(content).encode()
        request = urllib.request.Request(
            self.url + path,
            data=content,
            headers={
                "x-api-key": self.secret,
                "anthropic-version": "2026-10-21",
                "content-type": "application/json",
            },
            method=method or "POST",
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)

    def ledger(self) -> dict[str, Any]:
        return self.call("/_sandbox/ledger", method="GET")

    def change(self, **settings: float) -> None:
        self.call("/_sandbox/settings", settings)

    def create(self, body: bytes) -> str:
        """A batch that the program under test does not know to be there."""
        return self.call("/v1/messages/batches", body)["id"]

    def delete(self, id: str) -> None:
        self.call(f"/v1/messages/batches/{id}", method="DELETE")

    def save_key(self, workspace: Workspace) -> ApiKey:
        return ApiKey.seal(workspace, "sandbox", self.secret)


def foreign_body(size: int) -> bytes:
    params = json.loads(PARAMS % b"x")
    requests = [{"custom_id": f"theirs-{number}", "params": params} for number in range(size)]
    return json.dumps({"requests": requests}).encode()
