"""Drafts over a file that is read, as the pages of a new batch find them."""

from collections.abc import Sequence
from typing import Any

from batches import archive
from batches.models import Batch
from tests.batches.build import make_upload, table_rows
from workspaces.models import ApiKey, Workspace

RECIPE = {"model": "claude-haiku-4-5", "prompt": "About {{city}}: {{text}}", "max_tokens": 60}
ROWS = (("a", "Köln", "Grüße"), ("b", "", "short"), ("b", "大阪", "long " * 40))
FIELDS = {"model": "claude-haiku-4-5", "prompt": "About {{city}}", "max_tokens": "60"}


def make_draft(
    workspace: Workspace,
    rows: Sequence[Sequence[str]] = ROWS,
    columns: Sequence[str] = ("id", "city", "text"),
    **fields: Any,
) -> Batch:
    return draft_of(workspace, columns, table_rows(*rows), **fields)


def draft_of(
    workspace: Workspace, columns: Sequence[str], rows: Sequence[archive.Row], **fields: Any
) -> Batch:
    upload = make_upload(columns, rows)
    upload.workspace = workspace
    upload.save()
    values = {"name": "Cities", **fields}
    return Batch.objects.create(workspace=workspace, upload=upload, **values)


def give_models(workspace: Workspace) -> None:
    """A key with a list of models: one that thinks with a budget, one that adapts."""
    models = [
        make_model("claude-opus-5", 128_000, ["adaptive", "disabled"], effort=True),
        make_model("claude-haiku-4-5-20251001", 64_000, ["enabled", "disabled"]),
    ]
    ApiKey.seal(workspace, "claude", "sk-ant-acme-secret", models=models)


def make_model(id: str, most: int, thinking: list[str], effort: bool = False) -> dict[str, Any]:
    kinds = ("adaptive", "between_tools", "disabled", "enabled")
    efforts = ("low", "medium", "high", "xhigh", "max")
    return {
        "id": id,
        "display_name": id.removeprefix("claude-"),
        "max_tokens": most,
        "max_input_tokens": 200_000,
        "retires_at": "2026-11-30T00:00:00Z",
        "capabilities": {
            "thinking": {"types": {kind: {"supported": kind in thinking} for kind in kinds}},
            "effort": {name: {"supported": effort} for name in efforts},
        },
    }
