"""The rows that only the recipe keeps from being sent: nobody was asked about them before."""

from batches.findings import Findings
from batches.models import Batch


def say_newly_left_out(batch: Batch, found: Findings) -> str:
    """How many the file page has told of, and why there are more; empty where these are all."""
    upload = batch.upload
    before = upload.problem_rows if upload else 0
    more = found.left_out - before
    if upload is None or not before or more <= 0:
        return ""
    verb = "was" if before == 1 else "were"
    told = "agreed to on" if batch.leave_out >= before else "listed on"
    # What the file has broken has its row in its sentence; among the first there may be no other.
    why = next((one.sentence(upload.row_word) for one in found.problems if one.row), "")
    such = ":" if more == 1 else ", such as"
    reason = f"{such} {why[:1].lower()}{why[1:]}" if why else "."
    return f"{before:,} {verb} {told} the file page. {more:,} more cannot be sent{reason}"
