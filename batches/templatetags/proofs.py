"""What was counted in the results of a part, in words."""

from django import template

from batches.models import MessageBatch

register = template.Library()


@register.filter
def proof_said(part: MessageBatch) -> str:
    """Sent 1,000, answered 1,000, missing 0, unexpected 0; empty before anything was counted."""
    proof = part.proof
    if not proof and part.state == part.State.STORED:
        proof = {"answered": part.size}
    if not proof:
        return ""
    counted = ("answered", "missing", "unexpected")
    numbers = ", ".join(f"{name} {proof.get(name, 0):,}" for name in counted)
    return f"Sent {part.size:,}, {numbers}."
