"""A create's body becomes the files of a batch, or the first thing wrong with it."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from sandbox.errors import ApiError, invalid
from sandbox.failing import Failures
from sandbox.splitting import Splitter, decode
from sandbox.store import RequestsWriter
from sandbox.validation import find_problem

MOST_REQUESTS = 100_000
LONGEST_ID = 64
ID_PATTERN = "^[a-zA-Z0-9_-]{1,64}$"
ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
FIELDS = ("custom_id", "params")


@dataclass
class Received:
    """The custom_ids in their order, and how many of the requests will succeed."""

    custom_ids: list[str] = field(default_factory=list)
    succeeding: int = 0


def receive(body: BinaryIO, directory: Path, version: str, failures: Failures) -> Received:
    """Writes the requests of a spooled body into `directory`.

    Raises the ApiError of the whole create. What is wrong inside of `params` is no error here:
    as at the API it becomes the outcome of that request alone.
    """
    received = Received()
    splitter = Splitter(body)
    refusal: ApiError | None = None
    writer = RequestsWriter(directory)
    for position, element in enumerate(splitter.elements()):
        # The rest is still read: a body that is not JSON is refused for that before all else.
        request = decode(element)
        refusal = refusal or find_refusal(request, position)
        if refusal is None and position < MOST_REQUESTS:
            succeeds = _succeeds(request["params"], version, failures, position)
            writer.write(msgspec.json.encode(request) + b"\n", succeeds)
            received.custom_ids.append(request["custom_id"])
            received.succeeding += succeeds
    writer.finish()
    refusal = find_envelope_refusal(splitter.envelope()) or refusal
    refusal = refusal or find_duplicate(received.custom_ids)
    if refusal:
        raise refusal
    return received


def _succeeds(params: dict[str, Any], version: str, failures: Failures, position: int) -> bool:
    if find_problem(params, version, in_batch=True):
        return False
    return failures.error(position, params) is None


def find_refusal(request: Any, position: int) -> ApiError | None:
    """What makes one element of `requests` unacceptable, in the API's words."""
    place = f"requests.{position}"
    if not isinstance(request, dict):
        return invalid(f"{place}: Input should be a valid dictionary")
    for name in FIELDS:
        if name not in request:
            return invalid(f"{place}.{name}: Field required")
    for name in request:
        if name not in FIELDS:
            return invalid(f"{place}.{name}: Extra inputs are not permitted")
    if not isinstance(request["params"], dict):
        return invalid(f"{place}.params: Input should be a valid dictionary")
    problem = _find_id_problem(request["custom_id"])
    return invalid(f"{place}.custom_id: {problem}") if problem else None


def _find_id_problem(custom_id: Any) -> str | None:
    if not isinstance(custom_id, str):
        return "Input should be a valid string"
    if len(custom_id) > LONGEST_ID:
        return f"String should have at most {LONGEST_ID} characters"
    if not ID.fullmatch(custom_id):
        return f"String should match pattern '{ID_PATTERN}'"
    return None


def find_envelope_refusal(envelope: Any) -> ApiError | None:
    """Judges the body without its elements, each of which is `{}` here."""
    if not isinstance(envelope, dict):
        return invalid("Input should be a valid dictionary")
    if "requests" not in envelope:
        return invalid("requests: Field required")
    for name in envelope:
        if name != "requests":
            return invalid(f"{name}: Extra inputs are not permitted")
    requests = envelope["requests"]
    if not isinstance(requests, list):
        return invalid("requests: Input should be a valid list")
    return _find_length_refusal(len(requests)) or _find_scalar(requests)


def _find_length_refusal(count: int) -> ApiError | None:
    if count == 0:
        return invalid("requests: List should have at least 1 item after validation, not 0")
    if count > MOST_REQUESTS:
        return invalid(
            f"requests: List should have at most {MOST_REQUESTS} items after validation, "
            f"not {count}"
        )
    return None


def _find_scalar(requests: list[Any]) -> ApiError | None:
    for position, request in enumerate(requests):
        if request != {}:
            return invalid(f"requests.{position}: Input should be a valid dictionary")
    return None


def find_duplicate(custom_ids: list[str]) -> ApiError | None:
    seen: set[str] = set()
    for custom_id in custom_ids:
        if custom_id in seen:
            return invalid(
                "requests: custom_id's must be unique within a batch. "
                f"Duplicate custom_id found: {custom_id}"
            )
        seen.add(custom_id)
    return None
