"""Workspaces, files, drafts and batches as the stages leave them, for looking at."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.contrib.auth.models import User
from django.utils import timezone

from batches import collecting, estimating, indexing, parsing, receiving
from batches.models import Batch, Estimate, MessageBatch, Request, Upload, Worker
from batches.receiving import Announcement
from leases.clock import database_now
from tests.batches import answers, build
from tests.batches.drafts import make_model
from workspaces.models import ApiKey, Membership, Workspace

SECRET = "sk-ant-api03-0123456789abcf3Qa"
MODEL = "claude-haiku-4-5-20251001"
PROMPT = "Is this review of the {{product}} positive, negative or mixed?\n\n{{review}}"
RECIPE = {
    "model": MODEL,
    "system": "You sort reviews. Answer with one word.",
    "prompt": PROMPT,
    "max_tokens": 300,
    "id_column": "id",
}
UNBROKEN = "Ohne_ein_einziges_Leerzeichen_" * 7
CHINESE = "十月份的客户评论：情绪分类与主要问题摘要（第二次运行）"
COLUMNS = ("id", "product", "language", "review")
REVIEWS = (
    ("R-1001", "跑鞋", "zh", "第一次跑完半程马拉松，脚一点都不疼。"),
    ("R-1002", "Kettle", "en", "Boils a full litre in under three minutes and no longer drips."),
    ("R-1003", "Wasserkocher", "de", "Der Deckel schließt nicht. Schade, sonst ganz schön."),
    ("R-1004", "Lampe", "fr", "La lumière est douce, mais le câble est trop court."),
    ("R-1005", "Чайник", "ru", "Работает тихо, вода нагревается быстро."),
    ("R-1006", "Mug", "en", "x" * 2_000),
)
SAID = ("positive", "positive", "mixed", "mixed", "positive", "negative")


@dataclass
class House:
    """Workspaces and people: Mei owns each of them, Jon is a member, Vera views."""

    people: dict[str, User] = field(default_factory=dict)

    def workspace(self, slug: str, name: str = "", **key: Any) -> Workspace:
        workspace = Workspace.objects.create(name=name or slug.title(), slug=slug)
        for user, role in (("mei", "owner"), ("jon", "member"), ("vera", "viewer")):
            Membership.objects.create(
                workspace=workspace, user=self.people[user], role=role, seen_at=timezone.now()
            )
        if key:
            models = [
                make_model("claude-opus-5", 128_000, ["adaptive", "disabled"], effort=True),
                {
                    **make_model(MODEL, 64_000, ["enabled"]),
                    "display_name": "Claude Haiku 4.5",
                    "retires_at": "2028-10-15T00:00:00Z",
                },
            ]
            known = {"models": models, "models_read_at": timezone.now()}
            known |= {"accepted_at": timezone.now(), "created_by": self.people["mei"]}
            ApiKey.seal(workspace, key.pop("api", "claude"), SECRET, **(known | key))
        return workspace


def move_in() -> House:
    house = House()
    for name in ("mei", "jon", "vera", "rita"):
        user = User.objects.create_user(name, f"{name}@example.org")
        house.people[name] = user
    Worker.objects.create(host="web-1", pid=1, seen_at=timezone.now() + timedelta(days=1))
    return house


def table_of(count: int, columns: Sequence[str] = COLUMNS) -> list[list[str]]:
    """So many rows of reviews, each with its own id."""
    rows = [list(REVIEWS[number % len(REVIEWS)]) for number in range(count)]
    return [[f"R-{1001 + number}", *row[1:]] for number, row in enumerate(rows)]


def as_csv(rows: Sequence[Sequence[str]], columns: Sequence[str] = COLUMNS) -> bytes:
    return "\n".join(";".join(row) for row in [columns, *rows]).encode() + b"\n"


def make_file(
    workspace: Workspace, by: User, name: str, data: bytes, *, read: bool = True, of: int = 0
) -> Batch:
    """A draft over a file as the browser sends it; `of` bytes where not all of it came."""
    at = database_now()
    token = f"a-token-of-this-file-{Upload.objects.count():016}"
    upload = receiving.begin(Announcement(name, of or len(data), token), workspace, by, at)
    receiving.append(upload, 0, io.BytesIO(data), at)
    while read and parsing.step(database_now()):
        pass
    return Batch.objects.select_related("upload").get(upload=upload)


def place(batch: Batch, page: str = "") -> str:
    return f"/w/{batch.workspace.slug}/batches/{batch.pk}/{page}"


def make_draft(
    workspace: Workspace, rows: Sequence[Sequence[str]], name: str, **fields: Any
) -> Batch:
    """A draft over a file that is read, without parsing it."""
    columns = fields.pop("columns", COLUMNS)
    upload = build.make_upload(columns, build.table_rows(*rows), filename="reviews-october.csv")
    # No two of them are the same file.
    known = {"size": 182_044, "sha256": f"{upload.pk:064}"}
    Upload.objects.filter(pk=upload.pk).update(workspace=workspace, **known)
    mei = User.objects.get(username="mei")
    values = {"recipe": RECIPE, "saved_at": timezone.now(), "created_by": mei, "rows": len(rows)}
    batch = Batch(workspace=workspace, upload=upload, name=name, **(values | fields))
    batch.upload.workspace = workspace
    batch.save()
    return batch


def estimate(batch: Batch) -> Batch:
    """What a worker finds, with every counted request of 412 tokens."""
    at = database_now()
    estimating.ask(batch, at)
    row = Estimate.objects.get(batch=batch)
    found = estimating.find(row, batch, None)
    for group in found.groups:
        group.counted = [(round(group.bytes / group.rows), 412)]
    Estimate.objects.filter(pk=row.pk).update(
        state="ready", due_at=None, findings=msgspec.to_builtins(found)
    )
    return batch


@contextmanager
def worker_stopped() -> Iterator[None]:
    seen = list(Worker.objects.values_list("pk", "seen_at"))
    Worker.objects.update(seen_at=timezone.now() - timedelta(minutes=2))
    try:
        yield
    finally:
        for pk, at in seen:
            Worker.objects.filter(pk=pk).update(seen_at=at)


def send(batch: Batch, sizes: Sequence[int], **fields: Any) -> list[MessageBatch]:
    """Its first rows in parts of these sizes, as they are once the API has them."""
    dollars = {"low": "3.90", "high": "5.20", "most": "9.56", "requests": sum(sizes)}
    asked = {"requested_by": batch.created_by, "requested_at": ago(13), "estimate": dollars}
    run = build.make_run(batch, recipe=batch.recipe, **asked)
    key = batch.workspace.live_key()
    api = key.api if key else "claude"
    parts, row = [], 2
    for number, size in enumerate(sizes, 1):
        known = {
            "api": api,
            "account": f"{batch.pk}:{number}",
            "message_batch_id": f"msgbatch_01{batch.pk:04}{number:03}aEDMaPF0wBRaq",
            "processing_status": "in_progress",
            "processing": size,
            "sent_at": ago(12),
            "created_at": ago(12),
            "expires_at": ago(12) + timedelta(hours=24),
            "due_at": timezone.now() + timedelta(days=9),
        }
        rows = {one: f"R-{999 + one}" for one in range(row, row + size)}
        parts.append(build.make_part(run, rows, **(known | fields)))
        row += size
    batch.recount()
    return parts


def ago(minutes: float) -> datetime:
    return timezone.now() - timedelta(minutes=minutes)


def end_part(part: MessageBatch, wrong: Mapping[int, Any] | None = None, took: float = 7) -> None:
    """Its answers are here: the word of each review, and what went wrong by row."""
    rows = [int(key) for key in part_rows(part)]
    plain = {row: build.succeeded(SAID[(row - 2) % len(SAID)], model=MODEL) for row in rows}
    given = {**plain, **{row: one for row, one in (wrong or {}).items() if row in plain}}
    answers.collect(part, given)
    kinds = [
        msgspec.json.decode(one)["type"] if isinstance(one, bytes) else one["type"]
        for one in given.values()
    ]
    part.refresh_from_db()
    counts = {kind: kinds.count(kind) for kind in ("succeeded", "errored", "canceled", "expired")}
    MessageBatch.objects.filter(pk=part.pk).update(
        processing_status="ended",
        processing=0,
        ended_at=ago(12 - took),
        stored_at=ago(12 - took),
        proven_at=ago(12 - took),
        due_at=None,
        tokens={"input_tokens": 412 * len(rows), "output_tokens": 96 * len(rows)},
        cost="0.44",
        **counts,
    )
    part.refresh_from_db()
    prove(part, lines=len(given))
    Batch.objects.get(pk=part.batch_id).recount()


def prove(part: MessageBatch, **more: Any) -> None:
    """What collecting counts in the results that are here."""
    proof = indexing.scan(part)
    missing = {"missing_rows": collecting.list_missing(part, proof)}
    counted = {**proof.summary(), **missing, "downloads": 1, **more}
    MessageBatch.objects.filter(pk=part.pk).update(proof=counted)


def part_rows(part: MessageBatch) -> list[int]:
    return list(Request.objects.of(part.pk).order_by("pk").values_list("row", flat=True))


def running(
    workspace: Workspace, name: str, ended: int = 6, of: int = 10, size: int = 5, **fields: Any
) -> Batch:
    batch = make_draft(workspace, table_of(of * size), name, **fields)
    parts = send(batch, [size] * of)
    for number, part in enumerate(parts[:ended]):
        end_part(part, {9: answers.BUSY, 18: answers.CUT}, took=4 + number % 4)
    return tell(batch)


def tell(batch: Batch) -> Batch:
    """The beginning of its story."""
    mei = User.objects.get(username="mei")
    batch.record("sent", "mei pressed Send 50 requests (at most $0.96).", actor=mei, at=ago(13))
    batch.record("submitted", "Part 1 was sent: msgbatch_01VdXrqKcTAmJ8wIBMYqvMxh.", at=ago(12))
    batch.record("ended", "Part 1 has ended at the API.", at=ago(6))
    batch.refresh_from_db()
    return batch


def ended(
    workspace: Workspace,
    name: str,
    wrong: Mapping[int, Any] | None = None,
    rows: int = 12,
    **fields: Any,
) -> Batch:
    batch = make_draft(workspace, table_of(rows), name, **fields)
    for part in send(batch, [rows // 2, rows - rows // 2]):
        end_part(part, wrong)
    return tell(batch)


def part_way(workspace: Workspace, name: str, status: str, **fields: Any) -> Batch:
    batch = make_draft(workspace, table_of(12), name)
    send(batch, [5, 7], state=status, **fields)
    return tell(batch)
