"""`/v1/models`."""

from typing import Any

from aiohttp import web

from sandbox.errors import not_found
from sandbox.models import BY_ID, MODELS, THINKING, Model
from sandbox.paging import envelope, read_cursor, window
from sandbox.requests import reply

EFFORTS = ("low", "medium", "high", "xhigh", "max")
STRATEGIES = ("clear_thinking_20251015", "clear_tool_uses_20250919", "compact_20260112")
SUPPORTED = ("batch", "citations", "code_execution", "image_input", "pdf_input")

routes = web.RouteTableDef()


@routes.get("/v1/models")
async def list_models(request: web.Request) -> web.Response:
    cursor = read_cursor(request)
    wanted = request.query.getall("lifecycle[]", ["active", "deprecated"])
    models = [model for model in reversed(MODELS) if model.lifecycle in wanted]
    ids = [model.id for model in models]
    after = _position(ids, cursor.after_id) if cursor.after_id else None
    before = _position(ids, cursor.before_id) if cursor.before_id else None
    start, end, has_more = window(len(ids), cursor.limit, after, before)
    data = [_shown(model) for model in reversed(models[start:end])]
    return reply(envelope(data, has_more))


def _position(ids: list[str], name: str) -> int:
    if name not in ids:
        raise not_found(f"model: {name}")
    return ids.index(name)


@routes.get("/v1/models/{id}")
async def retrieve_model(request: web.Request) -> web.Response:
    name = request.match_info["id"]
    if name not in BY_ID:
        raise not_found(f"model: {name}")
    return reply(_shown(BY_ID[name]))


def _shown(model: Model) -> dict[str, Any]:
    name = (model.alias or model.id).removeprefix("claude-")
    line, _, version = name.partition("-")
    return {
        "type": "model",
        "id": model.id,
        "display_name": f"Claude {line.title()} {version.replace('-', '.')}",
        "created_at": _day(model.released),
        "lifecycle": model.lifecycle,
        "line": model.line,
        "deprecated_at": _day(model.deprecated or (model.retires if model.retired else None)),
        "retires_at": _day(model.retires),
        "max_input_tokens": model.max_input_tokens,
        "max_tokens": model.max_tokens,
        "capabilities": _capabilities(model),
    }


def _capabilities(model: Model) -> dict[str, Any]:
    yes = {"supported": True}
    adaptive = {"supported": "adaptive" in model.thinking}
    return {
        **dict.fromkeys(SUPPORTED, yes),
        "context_management": {**yes, **dict.fromkeys(STRATEGIES, yes)},
        "effort": {**adaptive, **dict.fromkeys(EFFORTS, adaptive)},
        "server_tools": {**yes, "code_execution": yes, "web_search": yes},
        "structured_outputs": yes,
        "thinking": {
            **yes,
            "types": {kind: {"supported": kind in model.thinking} for kind in THINKING},
        },
    }


def _day(day: str | None) -> str | None:
    return f"{day}T00:00:00Z" if day else None
