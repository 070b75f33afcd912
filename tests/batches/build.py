"""Rows and archive files as the stages leave them, without a worker."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from batches import archive, indexing
from batches.building import request_line
from batches.models import Batch, MessageBatch, Request, Result, Run, Upload
from workspaces.models import Workspace

State = MessageBatch.State


def make_workspace(slug: str = "team") -> Workspace:
    return Workspace.objects.get_or_create(slug=slug, defaults={"name": slug.title()})[0]


def make_upload(
    columns: Sequence[str], rows: Sequence[archive.Row], filename: str = "reviews.csv"
) -> Upload:
    """A read upload; without columns it holds ready requests."""
    upload = Upload.objects.create(
        workspace=make_workspace(),
        filename=filename,
        token=random.randbytes(8).hex(),
        size=1,
        state=Upload.State.READY,
        kind=Upload.Kind.TABLE if columns else Upload.Kind.REQUESTS,
        columns=list(columns),
        rows=len(rows),
        rows_fence=1,
    )
    encode = msgspec.json.Encoder().encode
    with (
        archive.writing(archive.rows(upload.pk, 1)) as file,
        archive.writing(archive.rows_index(upload.pk, 1)) as index,
    ):
        for row in rows:
            index.write(archive.INDEX_ENTRY.pack(row.number, file.tell()))
            file.write(encode(row) + b"\n")
    return upload


def table_rows(*cells: Sequence[str]) -> list[archive.Row]:
    """Rows of a table, numbered as a spreadsheet does: the header is row 1."""
    return [archive.Row(number, cells=list(row)) for number, row in enumerate(cells, 2)]


def make_batch(upload: Upload | None, name: str = "Review themes", **fields: Any) -> Batch:
    return Batch.objects.create(workspace=make_workspace(), upload=upload, name=name, **fields)


def make_run(batch: Batch, left_out: Mapping[int, str] | None = None, **fields: Any) -> Run:
    """A Run that was built unless `fields` say otherwise."""
    values = {"state": Run.State.BUILT, "token": random.randbytes(8).hex(), "recipe": {}}
    run = Run.objects.create(batch=batch, **(values | fields))
    if left_out is not None:
        with archive.writing(archive.left_out(run.pk, 1)) as file:
            for number, reason in left_out.items():
                file.write(msgspec.json.encode(archive.LeftOut(number, reason)) + b"\n")
        Run.objects.filter(pk=run.pk).update(left_out_fence=1)
    return run


def make_part(
    run: Run,
    own_ids: Mapping[int, str] | Sequence[int],
    state: str = State.SUBMITTED,
    **fields: Any,
) -> MessageBatch:
    """A part with its requests file and index; `own_ids` are row numbers, or number to own id."""
    ids = own_ids if isinstance(own_ids, Mapping) else {row: str(row) for row in own_ids}
    batch = run.batch
    part = MessageBatch.objects.create(
        workspace_id=batch.workspace_id,
        batch=batch,
        run=run,
        part=batch.message_batches.count() + 1,
        requests_fence=1,
        size=len(ids),
        state=state,
        **fields,
    )
    requests = []
    with archive.writing(archive.requests(part.pk, 1)) as file:
        for position, (row, own_id) in enumerate(ids.items()):
            line = request_line(part.custom_id(row), b"{}")
            place = {"offset": file.tell(), "length": len(line) - 1}
            pk = Request.key(part.pk, position)
            requests.append(Request(pk=pk, batch=batch, row=row, own_id=own_id, **place))
            file.write(line)
    Request.objects.bulk_create(requests, batch_size=2_000)
    return part


def succeeded(text: str = "", **message: Any) -> dict[str, Any]:
    usage = {"input_tokens": 10, "output_tokens": 5}
    content = [{"type": "text", "text": text}]
    body = {"content": content, "stop_reason": "end_turn", "usage": usage}
    return {"type": "succeeded", "message": body | message}


def errored(kind: str, message: str) -> dict[str, Any]:
    return {
        "type": "errored",
        "error": {"type": "error", "error": {"type": kind, "message": message}},
    }


def answer_part(
    part: MessageBatch, results: Mapping[int, dict[str, Any] | bytes], state: str = State.STORED
) -> None:
    """Store answers (a result, or its JSON) by row, shuffled as the API does, and index them."""
    lines = [
        b'{"custom_id":"%s","result":%s}\n'
        % (
            part.custom_id(row).encode(),
            result if isinstance(result, bytes) else msgspec.json.encode(result),
        )
        for row, result in results.items()
    ]
    random.Random(1).shuffle(lines)
    part.state, part.results_fence = state, (part.results_fence or 0) + 1
    part.save()
    with archive.writing(archive.results(part.pk, part.results_fence)) as file:
        file.writelines(lines)
    index_results(part)


def index_results(part: MessageBatch) -> None:
    """Write the index of a results file as collecting does, without its lease."""
    Result.objects.delete_part(part.pk)
    proof = indexing.scan(part)
    with open(archive.results(part.pk, part.results_fence or 0), "rb") as file:
        found = [
            indexing.make_result(request, proof, file) for request in indexing.answered(part, proof)
        ]
    Result.objects.bulk_create(found, batch_size=2_000)
