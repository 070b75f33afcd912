"""The parameters of a request, and the fields in which a person sets them. Pure.

What has no field of its own stands in `extra`, so that no parameter is lost on the way through
the form.
"""

from collections.abc import Mapping
from typing import Any

from streaming.history import version_of
from streaming.json_fields import write_json
from streaming.offers import THINKING

Parameters = dict[str, Any]
# Later models send no text of their thinking unless they are asked for it.
LAST_TO_SHOW_THINKING = (4, 6)
# What a turn says by itself.
NOT_HERE = ("messages", "stream")


def to_parameters(fields: Mapping[str, Any]) -> Parameters:
    """What is sent beside the messages; the fields have been checked."""
    parameters: Parameters = {"model": fields["model"], "max_tokens": fields["max_tokens"]}
    if fields["system"].strip():
        parameters["system"] = fields["system"]
    if fields["thinking"]:
        parameters["thinking"] = _thinking(fields)
    if fields["tools"]:
        parameters["tools"] = fields["tools"]
    output: dict[str, Any] = {}
    if fields["effort"]:
        output["effort"] = fields["effort"]
    if fields["output_format"]:
        output["format"] = {"type": "json_schema", "schema": fields["output_format"]}
    extra = dict(fields["extra"] or {})
    more = extra.pop("output_config", None)
    if isinstance(more, dict):
        output = {**more, **output}
    if output:
        parameters["output_config"] = output
    return {**extra, **parameters}


def _thinking(fields: Mapping[str, Any]) -> dict[str, Any]:
    thinking: dict[str, Any] = {"type": fields["thinking"]}
    if fields["thinking"] == "enabled":
        thinking["budget_tokens"] = fields["budget"]
    version = version_of(fields["model"])
    if fields["thinking"] != "disabled" and version and version > LAST_TO_SHOW_THINKING:
        thinking["display"] = "summarized"
    return thinking


def to_fields(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as they are shown, which make the same parameters again."""
    extra = {name: value for name, value in parameters.items() if name not in NOT_HERE}
    fields: dict[str, Any] = {
        "model": extra.pop("model", ""),
        "max_tokens": extra.pop("max_tokens", ""),
        "system": extra.pop("system") if isinstance(extra.get("system"), str) else "",
        "tools": write_json(extra.pop("tools", [])),
    }
    fields |= _thinking_fields(extra)
    output = extra.pop("output_config", None)
    if isinstance(output, dict):
        fields |= _output_fields(output := dict(output))
        if output:
            extra["output_config"] = output
    fields["extra"] = write_json(extra)
    return fields


def _thinking_fields(extra: dict[str, Any]) -> dict[str, Any]:
    thinking = extra.get("thinking")
    if not isinstance(thinking, dict) or thinking.get("type") not in THINKING:
        return {}
    if thinking.keys() - {"type", "budget_tokens", "display"}:
        return {}
    del extra["thinking"]
    return {"thinking": thinking.get("type", ""), "budget": thinking.get("budget_tokens", "")}


def _output_fields(output: dict[str, Any]) -> dict[str, Any]:
    """Take effort and format out of it, where the fields can hold them."""
    fields = {}
    if isinstance(output.get("effort"), str):
        fields["effort"] = output.pop("effort")
    given = output.get("format")
    if isinstance(given, dict) and given.keys() == {"type", "schema"}:
        fields["output_format"] = write_json(output.pop("format")["schema"])
    return fields
