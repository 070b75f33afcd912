"""What the sandbox answers: a function of the request alone."""

import base64
import hashlib
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from sandbox import labels, sentences
from sandbox.identifiers import derived
from sandbox.languages import Prompt
from sandbox.models import Model
from sandbox.schemas import Maker
from sandbox.tokens import cut, estimate

PER_CALL = 20
THOUGHT = (
    "The request is about {about}. I should look at what is asked, keep to the form that is "
    "wanted, and answer in the language of the question."
)
REFUSED = "The sandbox refuses this request because its failure rate is above 0."


@dataclass
class Answer:
    """The content of a reply and why it ended. Thinking is part of `output_tokens`."""

    content: list[dict[str, Any]] = field(default_factory=list)
    stop_reason: str = "end_turn"
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None
    output_tokens: int = 0
    thinking_tokens: int = 0


def answer(body: dict[str, Any], model: Model, failure: str | None = None) -> Answer:
    """The answer to a valid body; `failure` makes of it a `cut_off` or a `refusal`."""
    if failure == "refusal":
        details = {"type": "refusal", "category": None, "explanation": REFUSED}
        return Answer(stop_reason="refusal", stop_details=details)
    whole = _Composer(body, model, body["max_tokens"]).compose()
    if failure == "cut_off":
        return _Composer(body, model, whole.output_tokens // 2).compose()
    return whole


class _Composer:
    def __init__(self, body: dict[str, Any], model: Model, limit: int) -> None:
        self.body = body
        self.model = model
        self.limit = limit
        turns = body["messages"]
        self.begun = ""
        if turns[-1]["role"] == "assistant":
            self.begun, turns = _text_of(turns[-1]["content"]).rstrip(), turns[:-1]
        asked = {name: value for name, value in body.items() if name != "stream"}
        asked["messages"] = turns
        self.seed = hashlib.blake2b(msgspec.json.encode(asked), digest_size=16).digest()
        self.draw = Random(int.from_bytes(self.seed, "big"))
        self.prompt = Prompt(_prompt(body["messages"]))
        self.answer = Answer()

    def compose(self) -> Answer:
        if self.limit > 0 and self._thinks():
            self._think()
        if self.answer.output_tokens >= self.limit:
            self.answer.stop_reason = "max_tokens"
            return self.answer
        result = _last_tool_result(self.body["messages"])
        tool = None if result is not None else self._tool()
        if tool:
            self._call(tool)
        else:
            self._say(self._text() if result is None else self._about(result))
        return self.answer

    def _thinks(self) -> bool:
        if "thinking" in self.body:
            return self.body["thinking"]["type"] in ("enabled", "adaptive")
        return self.model.thinks_unasked and not self._is_forced()

    def _is_forced(self) -> bool:
        return self.body.get("tool_choice", {}).get("type") in ("any", "tool")

    def _think(self) -> None:
        words = self.prompt.content_words[:4] or ["the question"]
        text = cut(THOUGHT.format(about=", ".join(words)), self.limit)
        tokens = estimate(text)
        shown = "summarized" if self.model.shows_thinking else "omitted"
        omitted = self.body.get("thinking", {}).get("display", shown) == "omitted"
        signature = base64.b64encode(self.seed * 12).decode()
        self.answer.content.append(
            {"type": "thinking", "thinking": "" if omitted else text, "signature": signature}
        )
        self.answer.thinking_tokens = tokens
        self.answer.output_tokens = tokens

    def _tool(self) -> dict[str, Any] | None:
        """The tool that is forced, else the one whose description the prompt speaks of."""
        choice = self.body.get("tool_choice", {"type": "auto"})
        tools = [tool for tool in self.body.get("tools", []) if "input_schema" in tool]
        if choice["type"] == "none" or not tools:
            return None
        if choice["type"] == "tool":
            return next((tool for tool in tools if tool["name"] == choice["name"]), None)
        asked = self.prompt.vocabulary

        def shared(tool: dict[str, Any]) -> int:
            told = f"{tool['name'].replace('_', ' ')} {tool.get('description', '')}"
            return len(asked & set(told.lower().split()))

        return max(tools, key=shared)

    def _call(self, tool: dict[str, Any]) -> None:
        made = Maker(tool["input_schema"], self.prompt.names, self.draw).value()
        tokens = PER_CALL + estimate(msgspec.json.encode(made).decode())
        if self.answer.output_tokens + tokens > self.limit:
            self.answer.output_tokens = self.limit
            self.answer.stop_reason = "max_tokens"
            return
        identifier = derived("toolu", self.seed)
        self.answer.content.append(
            {"type": "tool_use", "id": identifier, "name": tool["name"], "input": made}
        )
        self.answer.output_tokens += tokens
        self.answer.stop_reason = "tool_use"

    def _text(self) -> str:
        form = self.body.get("output_config", {}).get("format")
        if form:
            made = Maker(form["schema"], self.prompt.names, self.draw).value()
            return msgspec.json.encode(made).decode()
        system = _text_of(self.body.get("system") or "")
        label = labels.choose([self.prompt.text, system], self.draw)
        return label or sentences.write(self.prompt, self.draw)

    def _about(self, result: str) -> str:
        told = " ".join(result.split())[:300]
        about = Prompt(f"{self.prompt.text} {told}")
        return f"{told}\n\n{sentences.write(about, self.draw)}".strip()

    def _say(self, text: str) -> None:
        """Stop sequences first, then the limit; what is left, if anything, is the text block.

        An answer that was begun with the same words, as by a prefill, goes on after them.
        """
        text = text.removeprefix(self.begun)
        found = [(text.find(stop), stop) for stop in self.body.get("stop_sequences", [])]
        at, stop = min(((at, stop) for at, stop in found if at >= 0), default=(len(text), None))
        kept = cut(text[:at], self.limit - self.answer.output_tokens)
        if len(kept) < at:
            self.answer.stop_reason = "max_tokens"
        elif stop is not None:
            self.answer.stop_reason, self.answer.stop_sequence = "stop_sequence", stop
        if kept:
            self.answer.content.append({"type": "text", "text": kept})
        self.answer.output_tokens += estimate(kept)


def _prompt(messages: list[dict[str, Any]]) -> str:
    """The newest user text; a turn of tool results alone leaves the one before it."""
    for message in reversed(messages):
        if message["role"] == "user" and (text := _text_of(message["content"])):
            return text
    return ""


def _text_of(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content if block["type"] == "text")


def _last_tool_result(messages: list[dict[str, Any]]) -> str | None:
    content = messages[-1]["content"]
    if isinstance(content, list):
        for block in content:
            if block["type"] == "tool_result":
                return _text_of(block.get("content") or "")
    return None


def message(
    body: dict[str, Any], answered: Answer, identifier: str, usage: dict[str, Any]
) -> dict[str, Any]:
    """The Message object."""
    return {
        "id": identifier,
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": answered.content,
        "stop_reason": answered.stop_reason,
        "stop_sequence": answered.stop_sequence,
        "stop_details": answered.stop_details,
        "usage": usage,
    }
