"""What an API, a network and a disk may do to results: each as the person reads it."""

import gzip
import re
import time

import pytest

from batches import archive, collecting, polling, submitting
from batches.models import Batch, MessageBatch, Result
from tests.batches.ended import DAY, body, check_index, collect, make_ended, unbounded
from tests.batches.stage import (
    MINUTE,
    make_batch,
    make_part,
    now,
    result_line,
    result_lines,
    rows_of,
)
from tests.scripted_api import BATCHES, Reply, ScriptedApi, refusal
from workspaces.models import Event

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
MB = 2**20


@pytest.fixture
def part(workspace):
    return make_ended(make_batch(workspace))


def custom(part, row, result):
    """A line as bytes that no JSON library would write."""
    return b'{"custom_id":"%s","result":%s}\n' % (part.custom_id(row).encode(), result)


def test_it_works(api, part):
    collect(part, body(result_lines(part)), api=api)
    proof = part.proof
    counted = ("sent", "lines", "answered", "missing", "unexpected", "downloads")
    assert [proof[name] for name in counted] == [5, 5, 5, 0, 0, 1]
    assert (proof["types"], proof["missing_rows"]) == ({"succeeded": 5}, [])
    assert collecting.has_sound_file(part)
    assert proof["bytes"] == archive.size(archive.results(part.pk, part.results_fence))


def test_f23_a_body_that_ends_at_a_line_is_counted(api, part):
    collect(part, unbounded(result_lines(part)[:3]), api=api)
    assert part.reason == "Part 1 is incomplete: 2 of 5 answers are missing. We ask again."
    assert part.proof["missing_rows"] == [[2, "2"], [3, "3"]]
    assert Event.objects.get(verb="incomplete").sentence == part.reason


def test_f24_results_that_come_compressed_are_not_unpacked(api, part):
    bomb = gzip.compress(bytes(256 * MB), 1)
    packed = Reply(bomb, headers={"content-encoding": "gzip"})
    collect(part, packed, api=api)
    assert api.requests[0].headers["accept-encoding"] == "identity"
    assert part.reason == "Not collected: The results come as gzip, which was not asked for."
    assert part.state == "submitted"


def test_f25_a_last_line_without_its_newline_counts(api, part):
    lines = result_lines(part)
    collect(part, body([*lines[:-1], lines[-1].rstrip()]), api=api)
    assert (part.state, check_index(part)) == ("stored", rows_of(part))


def test_f26_shuffled_results_give_the_same_index(api, part):
    collect(part, body(sorted(result_lines(part), key=hash)), api=api)
    assert (part.state, check_index(part)) == ("stored", rows_of(part))


def test_f27_the_same_line_twice_is_counted_and_ignored(api, part):
    lines = result_lines(part)
    collect(part, body([*lines, lines[0], lines[0]]), api=api)
    assert (part.state, part.proof["repeated"], part.proof["lines"]) == ("stored", 2, 7)


def test_f27_of_two_answers_the_first_is_kept_and_the_part_not_stored(api, part):
    other = result_line(part.custom_id(4), text="no")
    collect(part, body([*result_lines(part), other]), api=api)
    assert part.state == "incomplete"
    said = "Part 1 is incomplete: 1 row has two different answers. We ask again."
    assert (part.reason, part.proof["conflicting_rows"]) == (said, [4])
    assert Result.objects.get(row=4).preview == "yes"


def test_f27_an_answer_that_changes_between_downloads_is_no_proof(api, part):
    lines = result_lines(part)
    collect(part, unbounded(lines[:3]), api=api)
    changed = [result_line(part.custom_id(6), text="no"), *lines[1:]]
    collect(part, body(changed), api=api, at=part.due_at)
    assert (part.state, part.proof["conflicting_rows"]) == ("incomplete", [6])
    assert Result.objects.get(row=6).preview == "yes"
    collect(part, body(lines), api=api, at=part.due_at)
    assert part.state == "stored"


def test_f27_three_whole_downloads_alike_outweigh_a_first_that_was_spoilt(api, part):
    lines = result_lines(part)
    spoilt = result_line(part.custom_id(6), text="no")
    collect(part, body([spoilt, *lines[1:4]]), api=api)
    for _ in range(2):
        collect(part, body(lines), api=api, at=part.due_at)
        assert (part.state, part.proof["conflicting_rows"]) == ("incomplete", [6])
        assert Result.objects.get(row=6).preview == "no"
    collect(part, body(lines[::-1]), api=api, at=part.due_at)
    assert (part.state, part.proof["alike"]) == ("stored", 3)
    assert Result.objects.get(row=6).preview == "yes"


def test_f27_downloads_that_differ_each_time_prove_nothing(api, part):
    lines = result_lines(part)
    for number in range(5):
        changed = [result_line(part.custom_id(6), text=f"no {number}"), *lines[1:]]
        MessageBatch.objects.update(succeeded=4, errored=1)
        api.plan("GET", f"{BATCHES}/msgbatch_1", refusal(500, "api_error", "No."))
        collect(part, body(changed), api=api, at=part.due_at)
        assert (part.state, part.proof["alike"]) == ("incomplete", 1)


def test_f28_lines_that_are_not_ours_are_told(api, part):
    strangers = [
        result_line("theirs-1"),
        result_line("2_otherone"),
        result_line("02_" + part.nonce),
    ]
    collect(part, body([*result_lines(part), *strangers]), api=api)
    assert part.reason == "Part 1 is incomplete: 3 lines are not ours. We ask again."
    assert part.proof["unexpected_ids"] == ["theirs-1", "2_otherone", f"02_{part.nonce}"]


def test_f28_a_stranger_s_id_is_kept_clean_and_short(api, part):
    odd = rb'{"custom_id":"a\u0000\ud800%s","result":{"type":"x"}}' % (b"9" * 5_000)
    number = b'{"custom_id":"%s_%s","result":{"type":"x"}}' % (b"9" * 5_000, part.nonce.encode())
    collect(part, body([*result_lines(part), odd + b"\n", number + b"\n"]), api=api)
    assert part.proof["unexpected_ids"] == ["a\ufffd\ufffd" + "9" * 61, "9" * 64]


def test_f30_counts_that_disagree_show_both_numbers(api, part):
    MessageBatch.objects.update(succeeded=3, errored=2)
    api.plan("GET", f"{BATCHES}/msgbatch_1", refusal(500, "api_error", "Internal server error"))
    collect(part, body(result_lines(part)), api=api)
    said = "5 succeeded where the API counts 3; 0 errored where the API counts 2"
    assert part.reason == f"Part 1 is incomplete: {said}. We ask again."


def test_f31_a_type_newer_than_this_program_is_kept_raw_and_counted(api, part):
    MessageBatch.objects.update(succeeded=4)
    newer = custom(part, 2, b'{"type":"deferred","until":"tomorrow"}')
    collect(part, body([*result_lines(part)[:-1], newer]), api=api)
    assert (part.state, part.proof["types"]) == ("stored", {"succeeded": 4, "deferred": 1})
    found = Result.objects.get(row=2)
    path = archive.results(part.pk, part.results_fence)
    assert archive.read_slice(path, found.offset, found.length) + b"\n" == newer
    assert (found.type, Batch.objects.get().errored) == ("deferred", 1)


def test_f31_types_without_end_do_not_swell_the_row(api, workspace):
    part = make_ended(make_batch(workspace), 60, succeeded=0)
    rows = rows_of(part)
    collect(part, body(custom(part, row, b'{"type":"t%d"}' % row) for row in rows), api=api)
    assert (part.state, len(part.proof["types"])) == ("stored", 20)


def test_f32_a_line_of_20_mb_is_taken_and_one_above_32_is_not(api, part):
    lines = result_lines(part)
    long = result_line(part.custom_id(6), text="x" * 20 * MB)
    longer = result_line(part.custom_id(5), text="x" * 40 * MB)
    begun = time.monotonic()
    collect(part, body([long, longer, *lines[2:]]), api=api)
    assert time.monotonic() - begun < 8
    said = "1 of 5 answers are missing; line 2 is above 32 MB and was not taken"
    assert part.reason == f"Part 1 is incomplete: {said}. We ask again."
    assert check_index(part) == [2, 3, 4, 6]
    assert Result.objects.get(row=6).length == len(long) - 1


ODD = {
    "NUL": rb'{"type":"succeeded","message":{"content":[{"type":"text","text":"a\u0000b"}]}}',
    "half a pair": rb'{"type":"succeeded","message":{"content":[{"type":"text","text":"\ud800"}]}}',
    "not UTF-8": b'{"type":"succeeded","message":{"content":[{"type":"text","text":"\xff"}]}}',
    "5,000 digits": b'{"type":"succeeded","message":{"usage":{"input_tokens":%s}}}'
    % (b"9" * 5_000),
    "deep": b'{"type":"succeeded","message":{"content":%s%s}}' % (b"[" * 9_000, b"]" * 9_000),
}


@pytest.mark.parametrize("result", ODD.values(), ids=ODD)
def test_f33_what_no_database_takes_is_kept_byte_for_byte(api, part, result):
    line = custom(part, 2, result)
    collect(part, body([*result_lines(part)[:-1], line]), api=api)
    assert part.state == "stored"
    found = Result.objects.get(row=2)
    path = archive.results(part.pk, part.results_fence)
    assert archive.read_slice(path, found.offset, found.length) + b"\n" == line


def test_f34_an_empty_body_is_no_proof(api, part):
    collect(part, body([]), api=api)
    assert part.reason == "Part 1 is incomplete: 5 of 5 answers are missing. We ask again."
    assert (part.proof["lines"], Result.objects.count()) == (0, 0)


def test_a_body_without_end_is_left(api, part):
    """Of one line, which never ends, and of lines that are nobody's."""
    collect(part, Reply(b"x" * (257 * MB), bounded=False), api=api)
    assert re.search("the file goes on after 2.. MB: the rest was not read", part.reason)
    lines = [*result_lines(part), *[b"{}\n"] * 20_000]
    collect(part, unbounded(lines), api=api, at=part.due_at)
    assert "the file goes on after 10,016 lines: the rest was not read" in part.reason
    assert (part.state, part.proof["unreadable"]) == ("incomplete", 10_011)
    assert len(part.proof["unreadable_lines"]) == 100


def test_earlier_files_do_not_pile_up(api, part):
    for _ in range(3):
        collect(part, unbounded(result_lines(part)[:2]), api=api, at=part.due_at)
    assert len(list(archive.created(part.pk).parent.glob("results-*"))) == 1


def test_an_earlier_file_that_is_gone_or_damaged_does_not_stand_in_the_way(api, part):
    lines = result_lines(part)
    collect(part, unbounded(lines[:3]), api=api)
    path = archive.results(part.pk, part.results_fence)
    path.write_bytes(path.read_bytes().replace(b"yes", b"yea"))
    collect(part, unbounded(lines[:2]), api=api, at=part.due_at)
    # What is missing is taken from it, and what came anew is not held against it.
    assert "2 of 5 answers are missing" in part.reason
    assert part.proof["conflicting"] == 0
    archive.results(part.pk, part.results_fence).unlink()
    collect(part, body(lines), api=api, at=part.due_at)
    assert part.state == "stored"


@pytest.mark.parametrize("hours", [-1, 1])
def test_f35_a_clock_that_is_an_hour_off_gives_nothing_up(at_sandbox, workspace, hours):
    at_sandbox.change(batch_seconds=0, clock_offset=3_600 * hours)
    part = make_part(make_batch(workspace), 5)
    assert submitting.step(now())
    assert polling.step(now() + MINUTE)
    part.refresh_from_db()
    assert part.processing_status == "ended"
    # By the API's clock, or by ours, the 29 days are just over.
    assert collecting.step(now() + 29 * DAY + MINUTE)
    part.refresh_from_db()
    assert (part.state, Result.objects.count()) == ("stored", 5)


def test_a_key_of_another_account_is_not_asked(api, key, part):
    key.anthropic_workspace = "wrkspc_theirs"
    key.save()
    MessageBatch.objects.update(account="wrkspc_ours")
    assert collecting.step(now())
    part.refresh_from_db()
    assert api.connections == 0
    assert "another Anthropic workspace" in part.reason


def test_below_the_room_that_is_kept_nothing_is_collected(api, part, settings):
    settings.FREE_DISK = 10**18
    assert collecting.step(now())
    part.refresh_from_db()
    assert part.reason.startswith("The disk is nearly full: ")
    assert "below 1,000,000,000 GB nothing is sent or collected" in part.reason
    assert (part.state, api.connections) == ("submitted", 0)
    settings.FREE_DISK = 0
    collect(part, body(result_lines(part)), api=api, at=part.due_at)
    assert (part.state, part.reason) == ("stored", "")


def test_results_at_another_host_are_not_asked_for(api, part):
    with ScriptedApi() as elsewhere:
        MessageBatch.objects.update(results_url=f"{elsewhere.url}/results")
        collect(part, body(result_lines(part)), api=api)
        assert (elsewhere.connections, part.state) == (0, "stored")
