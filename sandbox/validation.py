"""What the API refuses in the body of a message, at once or as an errored row of a batch."""

from typing import Any

from sandbox.errors import ApiError, invalid, not_found

SAMPLING = ("temperature", "top_p", "top_k")


def find_problem(body: dict[str, Any], version: str, in_batch: bool = False) -> ApiError | None:
    for name in ("model", "max_tokens", "messages"):
        if name not in body:
            return invalid(f"{name}: Field required")
    if not str(body["model"]).startswith("claude-"):
        return not_found(f"model: {body['model']}")
    if in_batch and body.get("stream"):
        return invalid('"stream=True" is not supported in the Message Batches API')
    return None
