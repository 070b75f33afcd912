"""What a ready request must be, so that the Message Batches API takes it."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from batches.parsing.json_faults import Fault, find_unsendable
from batches.recipe import MOST_TOKENS, refused

CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # the API's own pattern
ROLES = ("user", "assistant", "system")
FORM = 'Write {"custom_id": "...", "params": {...}}.'


def request_faults(value: Any, api_version: str, may_hold_nul: bool) -> Iterator[Fault]:
    """All that keeps this value of a line from being sent."""
    if not isinstance(value, dict):
        yield Fault(f"expected an object, found {_kind(value)}.", FORM)
        return
    if "params" not in value and "messages" in value:
        yield Fault("this is the params of a request without its frame.", FORM)
        return
    yield from _frame_faults(value)
    params = value.get("params")
    if isinstance(params, dict):
        yield from _params_faults(params, api_version)
    if may_hold_nul:
        for what in find_unsendable(value):
            yield Fault(what, "Delete that character.")


def _frame_faults(value: dict[str, Any]) -> Iterator[Fault]:
    if "custom_id" not in value:
        yield Fault("custom_id is missing.", "Give each line its own.")
    elif fault := _id_fault(value["custom_id"]):
        yield fault
    if "params" not in value:
        yield Fault("params is missing.", FORM)
    elif not isinstance(value["params"], dict):
        yield Fault(f"params: expected an object, found {_kind(value['params'])}.", FORM)
    if others := value.keys() - {"custom_id", "params"}:
        listed = ", ".join(f"`{name[:40]}`" for name in sorted(others)[:5])
        yield Fault(f"the API takes nothing beside custom_id and params: {listed}.", "Delete it.")


def _id_fault(own_id: Any) -> Fault | None:
    if isinstance(own_id, int | float) and not isinstance(own_id, bool):
        return Fault("custom_id must be text.", f'Write "{own_id}".')
    if not isinstance(own_id, str):
        return Fault(f"custom_id must be text, found {_kind(own_id)}.")
    if not own_id:
        return Fault("custom_id is empty.", "Give each line its own.")
    if not CUSTOM_ID.fullmatch(own_id):
        what = f"custom_id `{own_id[:70]}` is not one that the API takes."
        return Fault(what, "Allowed are letters, digits, - and _, at most 64.")
    return None


def _params_faults(params: dict[str, Any], api_version: str) -> Iterator[Fault]:
    yield from _model_faults(params)
    yield from _max_tokens_faults(params)
    yield from _messages_faults(params)
    for name, value in params.items():
        if why := refused(name, value, api_version):
            yield Fault(f"`params.{name}` {why}", "Delete it.")


def _model_faults(params: dict[str, Any]) -> Iterator[Fault]:
    model = params.get("model")
    if "model" not in params:
        yield Fault("`params.model` is missing.", "Name a model.")
    elif not isinstance(model, str) or not model or re.search(r"\s", model):
        yield Fault(f"`params.model` is {_show(model)}.", "Write the id of a model as text.")


def _max_tokens_faults(params: dict[str, Any]) -> Iterator[Fault]:
    limit = params.get("max_tokens")
    if "max_tokens" not in params:
        yield Fault("`params.max_tokens` is missing.", "Write a whole number from 1.")
    elif not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        yield Fault(f"`params.max_tokens` is {_show(limit)}.", "Write a whole number from 1.")
    elif limit > MOST_TOKENS:
        what = f"`params.max_tokens` is {_show(limit)}."
        yield Fault(what, f"Write a whole number from 1 to {MOST_TOKENS:,}.")


def _messages_faults(params: dict[str, Any]) -> Iterator[Fault]:
    messages = params.get("messages")
    if "messages" not in params:
        yield Fault("`params.messages` is missing.", "Add at least one message.")
    elif not isinstance(messages, list):
        what = f"`params.messages`: expected an array, found {_kind(messages)}."
        yield Fault(what, "Write [{...}].")
    elif not messages:
        yield Fault("`params.messages` has no entries.", "Add at least one message.")
    else:
        for place, message in enumerate(messages):
            yield from _message_faults(message, f"params.messages[{place}]")


def _message_faults(message: Any, path: str) -> Iterator[Fault]:
    if not isinstance(message, dict):
        yield Fault(f"`{path}`: expected an object, found {_kind(message)}.")
        return
    if message.get("role") not in ROLES:
        what = f"`{path}.role` is {_show(message.get('role'))}."
        yield Fault(what, "Write user, assistant or system.")
    content = message.get("content")
    if not isinstance(content, str | list):
        what = f"`{path}.content`: expected text or an array, found {_kind(content)}."
        yield Fault(what)
    elif not content:
        yield Fault(f"`{path}.content` is empty.", "Write what is asked.")
    elif isinstance(content, list):
        for place, block in enumerate(content):
            yield from _block_faults(block, f"{path}.content[{place}]")


def _block_faults(block: Any, path: str) -> Iterator[Fault]:
    if not isinstance(block, dict) or not isinstance(block.get("type"), str):
        yield Fault(f"`{path}`: expected an object with a type.")
    elif block["type"] == "text" and not (isinstance(block.get("text"), str) and block["text"]):
        yield Fault(f"`{path}.text` is empty.", "Write a text or delete the block.")


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool) or value is None:
        return _show(value)
    if isinstance(value, int | float):
        return "a number"
    return "an array" if isinstance(value, list) else "an object"


def _show(value: Any) -> str:
    return msgspec.json.encode(value).decode()[:60]
