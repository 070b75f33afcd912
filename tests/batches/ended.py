"""A part that has ended at the scripted API, and the collecting of its results."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from batches import archive, collecting
from batches.models import Batch, MessageBatch, Request, Result
from claude_api import read_result_line
from tests.batches.stage import make_part, now
from tests.scripted_api import BATCHES, Answer, Reply, ScriptedApi

DAY = timedelta(days=1)
RESULTS = f"{BATCHES}/msgbatch_1/results"


def make_ended(batch: Batch, size: int = 5, **fields: Any) -> MessageBatch:
    mirrored = {"processing_status": "ended", "succeeded": size, "created_at": now()}
    return make_part(
        batch, size, "submitted", **{"message_batch_id": "msgbatch_1", **mirrored, **fields}
    )


def collect(
    part: MessageBatch, *answers: Answer, api: ScriptedApi, at: datetime | None = None
) -> MessageBatch:
    """Let the results be answered so; the part afterwards."""
    api.plan("GET", RESULTS, *answers)
    assert collecting.step(at or now())
    part.refresh_from_db()
    return part


def body(lines: Iterable[bytes]) -> Reply:
    return Reply(b"".join(lines))


def unbounded(lines: Iterable[bytes]) -> Reply:
    """A body whose end nobody can tell from a break."""
    return Reply(b"".join(lines), bounded=False)


def check_index(part: MessageBatch) -> list[int]:
    """Each Result names its row's line in the file that counts; they are in row order."""
    results = list(Result.objects.of(part.pk).exclude(type="missing").order_by("pk"))
    path = archive.results(part.pk, part.results_fence or 0)
    for result in results:
        line = read_result_line(archive.read_slice(path, result.offset, result.length))
        assert line.custom_id == part.custom_id(result.row)
        assert Request.objects.get(pk=result.pk).row == result.row
    assert sorted(result.row for result in results) == [result.row for result in results]
    return [result.row for result in results]
