"""F21 to F34: what goes wrong in the results, and is read of it."""

import gzip
import re
from typing import Any

import pytest

from batches import collecting
from batches.models import MessageBatch, Result
from tests.batches.stage import (
    HOUR,
    SandboxScope,
    body_of,
    make_batch,
    make_part,
    now,
    remote,
    result_line,
    result_lines,
)
from tests.scripted_api import BATCHES, Reply, ScriptedApi

pytestmark = pytest.mark.django_db(transaction=True)
RESULTS = f"{BATCHES}/msgbatch_1/results"


@pytest.fixture
def part(workspace: Any) -> MessageBatch:
    ended = {"message_batch_id": "msgbatch_1", "processing_status": "ended", "succeeded": 5}
    return make_part(make_batch(workspace), state="submitted", created_at=now(), **ended)


def collect(part: MessageBatch, api: ScriptedApi, answer: Any, after: Any = None) -> MessageBatch:
    """Let the results be answered so; where the counts disagree they are asked for once more."""
    api.plan("GET", RESULTS, answer)
    api.plan("GET", f"{BATCHES}/msgbatch_1", Reply(mirrored(part)))
    MessageBatch.objects.filter(pk=part.pk).update(due_at=now())
    assert collecting.step(now() + after if after else now())
    part.refresh_from_db()
    return part


def mirrored(part: MessageBatch) -> dict[str, Any]:
    names = ("succeeded", "errored", "canceled", "expired")
    return remote("msgbatch_1", 5, "ended", **{name: getattr(part, name) for name in names})


def whole(part: MessageBatch) -> Reply:
    return Reply(b"".join(result_lines(part)))


def test_f21_results_are_never_asked_for_elsewhere(api, part, said):
    with ScriptedApi() as elsewhere:
        url = f"{elsewhere.url}{RESULTS}"
        MessageBatch.objects.filter(pk=part.pk).update(results_url=url)
        collect(part, api, whole(part))
        assert elsewhere.connections == 0
    assert part.state == "stored"
    assert "All 5 answers are here: sent 5, answered 5, missing 0." in said(part.batch)


CUTS = {
    "f22 reset in a line": {"records": 2, "bytes": 30, "end": "reset"},
    "f22 end in a line": {"records": 2, "bytes": 30, "end": "fin"},
    "f23 whole lines, no length": {"records": 2, "end": "fin", "transfer": "close"},
    "f23 whole lines, chunked": {"records": 2, "end": "whole", "transfer": "chunked"},
    "f34 nothing at all": {"records": 0, "end": "whole"},
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_f22_f23_f34_short_results_are_said_to_be_short(
    at_sandbox: SandboxScope, workspace, said, cut
):
    part = make_part(make_batch(workspace), state="submitted", created_at=now())
    id = at_sandbox.create(body_of(part))
    at_sandbox.change(clock_offset=600)
    counts = at_sandbox.call(f"/v1/messages/batches/{id}", method="GET")["request_counts"]
    MessageBatch.objects.filter(pk=part.pk).update(
        message_batch_id=id, processing_status="ended", **counts
    )
    at_sandbox.call("/_sandbox/faults", {"on": "results", "kind": "cut"} | cut)
    assert collecting.step(now())
    part.refresh_from_db()
    assert part.state == "incomplete"
    text = said(part.batch)
    assert re.search(r"Part 1 is incomplete: [345] of 5 answers are missing", text)
    assert "We ask again." in text
    assert "All 5 answers are here" not in text
    assert collecting.step(now() + HOUR)
    part.refresh_from_db()
    assert part.state == "stored"
    assert "All 5 answers are here: sent 5, answered 5, missing 0." in said(part.batch)


def test_f24_compressed_results_are_not_unpacked(api, part, said):
    packed = gzip.compress(b"".join(result_lines(part)))[:-20]
    collect(part, api, Reply(packed, headers={"content-encoding": "gzip"}))
    assert part.state == "submitted"
    assert "The results come as gzip, which was not asked for." in said(part.batch)


def test_f25_last_line_needs_no_newline(api, part, said):
    collect(part, api, Reply(b"".join(result_lines(part)).rstrip(b"\n")))
    assert part.state == "stored"
    assert "missing 0" in said(part.batch)


def test_f26_any_order_is_stored_as_the_same(api, part):
    collect(part, api, Reply(b"".join(sorted(result_lines(part)))))
    rows = Result.objects.of(part.pk).order_by("pk").values_list("row", flat=True)
    assert (part.state, list(rows)) == ("stored", [2, 3, 4, 5, 6])


def test_f27_line_that_comes_twice_counts_once(api, part, said):
    lines = result_lines(part)
    collect(part, api, Reply(b"".join([*lines, lines[0]])))
    assert part.state == "stored"
    assert "All 5 answers are here: sent 5, answered 5, missing 0." in said(part.batch)


def spoiled(part: MessageBatch, fault: str) -> bytes:
    lines = result_lines(part)
    return {
        "two answers": b"".join([*lines, result_line(part.custom_id(2), text="no")]),
        "not ours": b"".join([*lines, result_line("theirs-1")]),
        "missing": b"".join(lines[3:]),
        "counts": b"".join(lines).replace(b'"succeeded"', b'"expired"', 1),
        "unreadable": b"".join([*lines, b"not a result\n"]),
    }[fault]


SPOILED = {
    "f27": ("two answers", "two different answers"),
    "f28": ("not ours", "not ours"),
    "f29": ("missing", "3 of 5 answers are missing"),
    "f30": ("counts", "4 succeeded where the API counts 5"),
    "f33": ("unreadable", "line 6 cannot be read"),
}


@pytest.mark.parametrize(("fault", "words"), SPOILED.values(), ids=SPOILED)
def test_f27_to_f33_what_speaks_against_the_results_is_said(api, part, said, fault, words):
    collect(part, api, Reply(spoiled(part, fault)))
    assert part.state == "incomplete"
    text = said(part.batch)
    assert "Part 1 is incomplete:" in text
    assert words in text
    assert "We ask again." in text
    assert "missing 0" not in text


def test_f31_words_that_are_newer_than_this_program_are_shown(api, part, said):
    MessageBatch.objects.filter(pk=part.pk).update(succeeded=4, errored=0)
    part.refresh_from_db()
    body = b"".join(result_lines(part)).replace(b'"succeeded"', b'"postponed"', 1)
    collect(part, api, Reply(body.replace(b"end_turn", b"moonrise", 1)))
    assert part.state == "stored"
    assert set(part.answers) == {"succeeded", "postponed"}
    assert "postponed" in said(part.batch, "results/?type=errored").lower()


def test_f33_what_no_database_takes_is_shown_cleaned(api, part, said):
    body = b"".join(result_lines(part)).replace(b"yes", rb"a\u0000b \ud800 c", 1)
    collect(part, api, Reply(body))
    assert part.state == "stored"
    text = said(part.batch, "results/")
    assert "a" in text
    assert "\x00" not in text
    assert "b \ufffd c" in text
