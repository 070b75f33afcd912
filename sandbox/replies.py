"""What the sandbox answers: a function of the request alone."""

from typing import Any


def compose(params: dict[str, Any], identifier: str, service_tier: str) -> dict[str, Any]:
    """The Message object for the body of a message request."""
    text = f"Reply to: {str(params['messages'][-1].get('content'))[:80]}"
    return {
        "id": identifier,
        "type": "message",
        "role": "assistant",
        "model": params["model"],
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 16,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": len(text) // 4,
            "service_tier": service_tier,
            "inference_geo": "not_available",
        },
    }
