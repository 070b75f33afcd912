"""What the API refuses in the body of a message, at once or as an errored row of a batch.

The texts are the API's where they were observed, and in its style otherwise.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from sandbox.conversation import NEWER_VERSION, check_messages
from sandbox.errors import ApiError, invalid, not_found
from sandbox.models import Model, find_model
from sandbox.schema_rules import STRICT_MOST, check_schema, check_structured, too_complex
from sandbox.usage import count_input

SAMPLING = ("temperature", "top_p", "top_k")
COUNTED = {
    "model", "messages", "system", "tools", "tool_choice", "thinking", "output_config",
    "cache_control", "speed",
}  # fmt: skip
BETA = {
    "compaction", "container", "context_management", "mcp_servers", "fallbacks",
    "fallback_credit_token", "thread", "billing_policy", "user_profile_id",
}  # fmt: skip
KNOWN = COUNTED | BETA | {
    "max_tokens", "stream", "stop_sequences", "metadata", "service_tier", "inference_geo",
    "diagnostics", *SAMPLING,
}  # fmt: skip
NOT_IN_BATCHES = ("store", "previous_thread_event_id", "cache_hint", "context_hint", "fallbacks")
TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
FORCING = ("any", "tool")
LEAST_THINKING = 1024


def find_problem(body: dict[str, Any], version: str, in_batch: bool = False) -> ApiError | None:
    """The error that a message request gets, or None where it is answered."""
    try:
        check_message(body, version, in_batch)
    except ApiError as error:
        return error
    return None


def check_message(body: dict[str, Any], version: str, in_batch: bool = False) -> Model:
    with _shallow():
        return _checked(body, version, in_batch)


@contextlib.contextmanager
def _shallow() -> Iterator[None]:
    """What is nested as deeply as only a hostile body is, is refused rather than followed."""
    try:
        yield
    except RecursionError:
        raise invalid("The request body is nested too deeply") from None


def _checked(body: dict[str, Any], version: str, in_batch: bool) -> Model:
    _check_required(body, ("model", "max_tokens", "messages"))
    if in_batch:
        _check_batch(body)
    _check_known(body, KNOWN)
    _check_sampling(body, version)
    model = _checked_model(body)
    _check_max_tokens(body["max_tokens"], model, 1 if in_batch else 0)
    check_messages(body, version, model)
    _check_fields(body, model)
    _check_length(body, model)
    return model


def check_count(body: dict[str, Any], version: str) -> None:
    """The same for count_tokens, which knows fewer fields."""
    _check_required(body, ("model", "messages"))
    _check_known(body, COUNTED | BETA)
    model = _checked_model(body)
    with _shallow():
        check_messages(body, version, model)
        _check_fields(body, model)


def _check_required(body: dict[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if name not in body:
            raise invalid(f"{name}: Field required")


def _check_known(body: dict[str, Any], known: set[str]) -> None:
    for name in body:
        if name not in known:
            raise invalid(f"{name}: Extra inputs are not permitted")


def _check_batch(body: dict[str, Any]) -> None:
    if body.get("stream"):
        raise invalid('"stream=True" is not supported in the Message Batches API')
    for name in NOT_IN_BATCHES:
        if name in body:
            raise invalid(f"{name}: not supported in the Message Batches API")
    if body.get("speed") == "fast":
        raise invalid("speed: fast mode is not supported in the Message Batches API")


def _check_sampling(body: dict[str, Any], version: str) -> None:
    for name in SAMPLING:
        if name not in body:
            continue
        if version == NEWER_VERSION:
            raise invalid(f"{name}: Extra inputs are not permitted")
        if not isinstance(body[name], int | float):
            raise invalid(f"{name}: Input should be a valid number")
        if body[name] < 0:
            raise invalid(f"{name}: Input should be greater than or equal to 0")
        if name != "top_k" and body[name] > 1:
            raise invalid(f"{name}: Input should be less than or equal to 1")


def _checked_model(body: dict[str, Any]) -> Model:
    name = body["model"]
    if not isinstance(name, str):
        raise invalid("model: Input should be a valid string")
    model = find_model(name)
    if model is None:
        raise not_found(f"model: {name}")
    return model


def _check_max_tokens(value: Any, model: Model, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid("max_tokens: Input should be a valid integer")
    if value < least:
        raise invalid(f"max_tokens: must be greater than or equal to {least}")
    if value > model.max_tokens:
        raise invalid(
            f"max_tokens: {value} > {model.max_tokens}, which is the maximum allowed number of "
            f"output tokens for {model.id}"
        )


def _check_fields(body: dict[str, Any], model: Model) -> None:
    if "tools" in body:
        _check_tools(body["tools"])
    if "tool_choice" in body:
        _check_tool_choice(body, model)
    if "thinking" in body:
        _check_thinking(body, model)
    if "output_config" in body:
        _check_output_config(body["output_config"])
    if "stop_sequences" in body:
        _check_stop_sequences(body["stop_sequences"])


def _check_tools(tools: Any) -> None:
    if not isinstance(tools, list):
        raise invalid("tools: Input should be a valid list")
    for position, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise invalid(f"tools.{position}: Input should be a valid dictionary")
        if tool.get("type", "custom") == "custom":
            _check_custom_tool(tool, f"tools.{position}.custom")
        if not isinstance(tool.get("name", ""), str):
            raise invalid(f"tools.{position}.name: Input should be a valid string")
    if sum(tool.get("strict") is True for tool in tools) > STRICT_MOST:
        raise too_complex()
    names = [tool["name"] for tool in tools if "name" in tool]
    if len(set(names)) < len(names):
        raise invalid("tools: Tool names must be unique.")


def _check_custom_tool(tool: dict[str, Any], place: str) -> None:
    for name in ("name", "input_schema"):
        if name not in tool:
            raise invalid(f"{place}.{name}: Field required")
    if not isinstance(tool["name"], str) or not TOOL_NAME.fullmatch(tool["name"]):
        pattern = f"^{TOOL_NAME.pattern}$"
        raise invalid(f"{place}.name: String should match pattern '{pattern}'")
    schema = tool["input_schema"]
    if not isinstance(schema, dict):
        raise invalid(f"{place}.input_schema: Input should be a valid dictionary")
    if schema.get("type") != "object":
        raise invalid(f"{place}.input_schema.type: Input should be 'object'")
    check_schema(schema, f"{place}.input_schema")
    if tool.get("strict"):
        check_structured(schema, f"{place}.input_schema")


def _check_tool_choice(body: dict[str, Any], model: Model) -> None:
    choice = body["tool_choice"]
    if not isinstance(choice, dict) or choice.get("type") not in ("auto", "any", "tool", "none"):
        raise invalid("tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'")
    if choice["type"] in FORCING:
        if not model.forced_tools:
            raise invalid("tool_choice: forced tool use is not supported on this model")
        if _thinks(body):
            raise invalid("Thinking may not be enabled when tool_choice forces tool use.")
        if not body.get("tools"):
            raise invalid("tool_choice may only be specified while providing tools.")
    names = [tool.get("name") for tool in body.get("tools", [])]
    if choice["type"] == "tool" and choice.get("name") not in names:
        raise invalid(f"Tool '{choice.get('name')}' not found in provided tools")


def _thinks(body: dict[str, Any]) -> bool:
    thinking = body.get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")


def _check_thinking(body: dict[str, Any], model: Model) -> None:
    thinking = body["thinking"]
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if kind not in ("enabled", "adaptive", "disabled", "between_tools"):
        raise invalid(
            "thinking.type: Input should be 'enabled', 'adaptive', 'disabled' or 'between_tools'"
        )
    if kind not in model.thinking:
        raise invalid(_thinking_refusal(kind))
    if kind == "enabled":
        _check_budget(thinking, body.get("max_tokens"))
    config = body.get("output_config")
    effort = config.get("effort") if isinstance(config, dict) else None
    if kind == "disabled" and effort in model.thinking_efforts:
        raise invalid(f'"thinking.type.disabled" is not supported at effort {effort}.')


def _thinking_refusal(kind: str) -> str:
    if kind == "enabled":
        return (
            '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive"'
            ' and "output_config.effort" to control thinking behavior.'
        )
    if kind == "adaptive":
        return "adaptive thinking is not supported on this model"
    return f'"thinking.type.{kind}" is not supported for this model.'


def _check_budget(thinking: dict[str, Any], max_tokens: int | None) -> None:
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int):
        raise invalid("thinking.enabled.budget_tokens: Field required")
    if budget < LEAST_THINKING:
        raise invalid(
            "thinking.enabled.budget_tokens: Input should be greater than or equal to "
            f"{LEAST_THINKING}"
        )
    if max_tokens is not None and budget >= max_tokens:
        raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")


def _check_output_config(config: Any) -> None:
    if not isinstance(config, dict):
        raise invalid("output_config: Input should be a valid dictionary")
    if config.get("effort") not in (None, "low", "medium", "high", "xhigh", "max"):
        raise invalid(
            "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"
        )
    form = config.get("format")
    if form is None:
        return
    if not isinstance(form, dict) or form.get("type") != "json_schema":
        raise invalid("output_config.format.type: Input should be 'json_schema'")
    if not isinstance(form.get("schema"), dict):
        raise invalid("output_config.format.schema: Input should be a valid dictionary")
    place = "output_config.format.schema"
    check_schema(form["schema"], place)
    check_structured(form["schema"], place)


def _check_stop_sequences(sequences: Any) -> None:
    if not isinstance(sequences, list) or not all(isinstance(text, str) for text in sequences):
        raise invalid("stop_sequences: Input should be a valid list of strings")
    if any(not text.strip() for text in sequences):
        raise invalid("stop_sequences: each stop sequence must contain non-whitespace")


def _check_length(body: dict[str, Any], model: Model) -> None:
    # No text has more tokens than bytes: most bodies need no closer look.
    if len(msgspec.json.encode(body)) <= model.max_input_tokens:
        return
    tokens = count_input(body)
    if tokens > model.max_input_tokens:
        raise invalid(f"prompt is too long: {tokens} tokens > {model.max_input_tokens} maximum")
