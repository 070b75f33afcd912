from datetime import timedelta

import pytest

from batches import archive, collecting, indexing, polling, submitting
from batches.models import Batch, MessageBatch, Request, Result
from batches.models.batch import TOKENS
from leases.models import LEASE
from leases.renewing import LeaseLost, Renewal
from tests.batches.ended import DAY, body, check_index, collect, make_ended, unbounded
from tests.batches.stage import (
    HOUR,
    MINUTE,
    make_batch,
    make_part,
    now,
    remote,
    result_line,
    result_lines,
    rows_of,
)
from tests.scripted_api import BATCHES, Drop, Reply, ScriptedApi, refusal
from workspaces.models import Event

PART = f"{BATCHES}/msgbatch_1"
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


@pytest.fixture
def batch(workspace):
    return make_batch(workspace)


@pytest.fixture
def part(batch):
    return make_ended(batch)


def test_it_works(at_sandbox, batch):
    at_sandbox.change(batch_seconds=0)
    part = make_part(batch, 30)
    assert submitting.step(now())
    assert polling.step(now() + MINUTE)
    assert collecting.step(now() + MINUTE)
    part.refresh_from_db()
    assert (part.state, part.lease_until, part.due_at) == ("stored", None, None)
    assert check_index(part) == rows_of(part)
    sums = dict.fromkeys(TOKENS, 0)
    for result in Result.objects.all():
        assert (result.type, result.stop_reason) == ("succeeded", "max_tokens")
        assert result.preview
        for name in sums:
            sums[name] += getattr(result, name)
    assert part.tokens == sums
    assert sums["input_tokens"] > 0
    batch.refresh_from_db()
    assert (batch.state, batch.succeeded, batch.tokens) == ("ended", 30, sums)
    said = "All 30 answers of part 1 are here: sent 30, answered 30, missing 0."
    assert Event.objects.filter(verb="stored", sentence=said).count() == 1
    assert not collecting.step(now() + DAY)


def test_results_come_from_the_key_s_own_api(api, batch):
    with ScriptedApi() as elsewhere:
        part = make_ended(batch, results_url=f"{elsewhere.url}/results")
        collect(part, body(result_lines(part)), api=api)
        assert elsewhere.connections == 0
    assert part.state == "stored"


def test_bytes_are_kept_and_the_row_holds_what_pages_show(api, part):
    lines = result_lines(part)
    collect(part, body(lines), api=api)
    assert archive.results(part.pk, part.results_fence).read_bytes() == b"".join(lines)
    result = Result.objects.get(row=4)
    assert (result.preview, result.input_tokens, result.cache_read_tokens) == ("yes", 7, 2)
    assert part.tokens["output_tokens"] == 15
    assert check_index(part) == rows_of(part)


def test_types_and_errors(api, part):
    MessageBatch.objects.update(succeeded=1, errored=2, canceled=1, expired=1)
    kinds = ["succeeded", "errored", "errored", "canceled", "expired"]
    pairs = zip(rows_of(part), kinds, strict=True)
    collect(part, body(result_line(part.custom_id(row), kind) for row, kind in pairs), api=api)
    found = list(Result.objects.order_by("row").values_list("type", "error_type", "preview"))
    assert found[0] == ("succeeded", "", "yes")
    assert found[1] == ("errored", "invalid_request_error", "too long")
    assert found[3:] == [("canceled", "", ""), ("expired", "", "")]
    batch = Batch.objects.get()
    assert (part.state, batch.errored, batch.canceled, batch.expired) == ("stored", 2, 1, 1)


def test_unknown_type_is_kept(api, part):
    MessageBatch.objects.update(succeeded=4)
    lines = [*result_lines(part)[1:], result_line(part.custom_id(6), "deferred")]
    collect(part, body(lines), api=api)
    assert part.state == "stored"
    assert Result.objects.get(row=6).type == "deferred"
    assert Batch.objects.get().errored == 1


def test_line_that_no_database_takes_is_kept_byte_for_byte(api, part):
    message = rb'{"content":[{"type":"text","text":"a\u0000b\ud800c"}]}'
    id = part.custom_id(6).encode()
    odd = b'{"custom_id":"%s","result":{"type":"succeeded","message":%s}}' % (id, message)
    collect(part, body([*result_lines(part)[1:], odd + b"\n"]), api=api)
    assert part.state == "stored"
    result = Result.objects.get(row=6)
    path = archive.results(part.pk, part.results_fence)
    assert archive.read_slice(path, result.offset, result.length) == odd
    assert result.preview == "a\ufffdb\ufffdc"


SHORT = {
    "cut at a line's end, no length": lambda lines: unbounded(lines[:3]),
    "cut inside a line, no length": lambda lines: unbounded([*lines[:3], lines[3][:20]]),
    "reset in the middle": lambda lines: Reply(b"".join(lines), cut=len(b"".join(lines[:3])) + 9),
    "shorter than declared": lambda lines: Reply(b"".join(lines[:3]), length=5_000),
    "empty": lambda lines: unbounded([]),
}


@pytest.mark.parametrize("short", SHORT.values(), ids=SHORT)
def test_short_body_is_never_stored(api, part, short):
    lines = result_lines(part)
    collect(part, short(lines), api=api)
    count = Result.objects.count()
    assert (part.state, part.proven_at, part.lease_until) == ("incomplete", None, None)
    assert f"{5 - count} of 5 answers are missing" in part.reason
    assert len(check_index(part)) == count <= 3
    batch = Batch.objects.get()
    assert (batch.state, batch.sent, batch.waiting) == ("collecting", 5, 5 - count)
    collect(part, body(lines), api=api, at=part.due_at)
    assert (part.state, part.reason) == ("stored", "")
    assert check_index(part) == rows_of(part)


def test_two_short_downloads_complete_each_other(api, part):
    lines = result_lines(part)
    collect(part, unbounded(lines[:3]), api=api)
    collect(part, unbounded(lines[2:]), api=api, at=part.due_at)
    assert (part.state, Result.objects.count()) == ("stored", 5)
    assert check_index(part) == rows_of(part)
    assert len(list(archive.created(part.pk).parent.glob("results-*"))) == 1


def test_pauses_between_short_downloads_grow(api, part):
    pauses, at = [], now()
    for _ in range(4):
        collect(part, unbounded(result_lines(part)[:3]), api=api, at=at)
        pauses.append(part.due_at - at)
        at = part.due_at
    assert pauses == [MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE]
    assert Result.objects.count() == 3
    assert Event.objects.filter(verb="incomplete").count() == 1


def test_duplicate_that_is_the_same_is_ignored(api, part):
    lines = result_lines(part)
    collect(part, body([*lines, lines[0]]), api=api)
    assert (part.state, Result.objects.count()) == ("stored", 5)


OBJECTIONS = {
    "row 2 answered twice": lambda part: [result_line(part.custom_id(2), text="no")],
    "not ours": lambda part: [result_line("theirs-1")],
    "unreadable": lambda part: [b"<html>\n"],
}
WORDS = ["1 row has two different answers", "1 line is not ours", "line 6 cannot be read"]


@pytest.mark.parametrize(
    ("extra", "words"), list(zip(OBJECTIONS.values(), WORDS, strict=True)), ids=OBJECTIONS
)
def test_file_with_an_objection_is_not_stored(api, part, extra, words):
    collect(part, body([*result_lines(part), *extra(part)]), api=api)
    assert part.state == "incomplete"
    assert words in part.reason
    assert check_index(part) == rows_of(part)
    assert set(Result.objects.values_list("preview", flat=True)) == {"yes"}


DISAGREE = "5 succeeded where the API counts 4; 0 errored where the API counts 1"


def test_counts_that_disagree_are_not_stored(api, part):
    MessageBatch.objects.update(succeeded=4, errored=1)
    api.plan("GET", PART, Reply(remote("msgbatch_1", status="ended", succeeded=4, errored=1)))
    collect(part, body(result_lines(part)), api=api)
    assert part.state == "incomplete"
    assert DISAGREE in part.reason
    assert part.proof["disagreements"] == DISAGREE.split("; ")


def test_counts_that_were_old_are_read_again(api, part):
    MessageBatch.objects.update(succeeded=4, errored=1)
    api.plan("GET", PART, Reply(remote("msgbatch_1", status="ended", succeeded=5)))
    collect(part, body(result_lines(part)), api=api)
    assert (part.state, part.succeeded, part.errored) == ("stored", 5, 0)


def test_three_downloads_alike_are_believed_against_the_counts(api, part):
    MessageBatch.objects.update(succeeded=4, errored=1)
    api.plan("GET", PART, refusal(500, "api_error", "Internal server error"))
    lines, at = result_lines(part), now()
    # In another order they are the same answers; a short one in between begins the count anew.
    for answer in (lines, lines[::-1], lines[1:], lines, lines[::-1]):
        collect(part, body(answer), api=api, at=at)
        assert part.state == "incomplete"
        at = part.due_at
    collect(part, body(lines), api=api, at=at)
    assert (part.state, part.proof["downloads"], part.proof["alike"]) == ("stored", 6, 3)
    said = Event.objects.get(verb="stored").sentence
    assert said.endswith(f"3 downloads were alike, but {DISAGREE}.")


FAILURES = {
    "404": refusal(404, "not_found_error", "has no available results"),
    "500": refusal(500, "api_error", "Internal server error"),
    "429": refusal(429, "rate_limit_error", "Slow down."),
    "502 in HTML": Reply(b"<html>", 502),
    "no answer": Drop(),
    "compressed": Reply(b"\x1f\x8b", headers={"content-encoding": "gzip"}),
}


@pytest.mark.parametrize("answer", FAILURES.values(), ids=FAILURES)
def test_failed_download_is_tried_again_soon(api, part, answer):
    at = now()
    collect(part, answer, api=api, at=at)
    assert (part.state, part.attempts) == ("submitted", 1)
    assert part.reason.startswith("Not collected: ")
    assert timedelta() < part.due_at - at < MINUTE
    collect(part, body(result_lines(part)), api=api, at=part.due_at)
    assert part.state == "stored"


def test_refused_key_keeps_the_part(api, key, part):
    collect(part, refusal(401, "authentication_error", "invalid x-api-key"), api=api)
    key.refresh_from_db()
    assert (part.state, key.paused(now() + MINUTE)) == ("submitted", True)
    MessageBatch.objects.update(due_at=now())
    assert collecting.step(now() + MINUTE)
    assert len(api.requests) == 1


def test_redirect_is_not_followed(api, part):
    with ScriptedApi() as elsewhere:
        to = {"location": elsewhere.url}
        collect(part, Reply(status=302, headers=to), api=api)
        assert elsewhere.connections == 0
    assert part.state == "submitted"


GONE = refusal(404, "not_found_error", "The results are no longer available.")


def test_after_29_days_what_did_not_come_is_missing(api, part):
    collect(part, unbounded(result_lines(part)[:3]), api=api)
    part.due_at = now() + 29 * DAY
    part.save()
    collect(part, GONE, api=api, at=part.due_at + MINUTE)
    assert (part.state, part.due_at) == ("lost", None)
    assert check_index(part) == [4, 5, 6]
    assert list(Result.objects.filter(type="missing").values_list("row", flat=True)) == [2, 3]
    batch = Batch.objects.get()
    assert (batch.missing, batch.succeeded, batch.state) == (2, 3, "ended")
    assert part.tokens["output_tokens"] == 9
    said = "2 answers of part 1 are lost: the API no longer has them."
    assert Event.objects.get(verb="lost").sentence == said
    said = "2 of 5 answers are missing. The API no longer has the results."
    assert part.reason == f"Part 1 is incomplete: {said}"


def test_given_up_before_anything_came(api, part):
    MessageBatch.objects.update(created_at=now() - 29 * DAY)
    collect(part, GONE, api=api)
    assert Result.objects.filter(type="missing").count() == 5
    assert Batch.objects.get().missing == 5


def test_a_clock_that_is_wrong_gives_nothing_up(api, part):
    """What the API still has is taken, however late it is by our clock."""
    MessageBatch.objects.update(created_at=now() - 29 * DAY - HOUR)
    collect(part, unbounded(result_lines(part)[:3]), api=api)
    assert part.state == "incomplete"
    collect(part, body(result_lines(part)), api=api, at=now() + 40 * DAY)
    assert part.state == "stored"


HINDRANCES = {
    "short": lambda lines: unbounded(lines[:3]),
    "broken": lambda lines: refusal(500, "api_error", "Internal server error"),
}


@pytest.mark.parametrize("answer", HINDRANCES.values(), ids=HINDRANCES)
def test_a_day_after_the_29_it_is_given_up_whatever_the_api_says(api, part, answer):
    MessageBatch.objects.update(created_at=now() - 30 * DAY)
    collect(part, answer(result_lines(part)), api=api)
    assert (part.state, part.due_at) == ("lost", None)
    counted = Batch.objects.get()
    assert counted.missing + counted.succeeded == 5
    assert part.reason.endswith("The API no longer has the results.")


def test_without_a_key_it_is_given_up_a_day_after_the_29(part):
    MessageBatch.objects.update(created_at=now() - 29 * DAY - HOUR)
    assert collecting.step(now())
    part.refresh_from_db()
    assert part.state == "submitted"
    assert collecting.step(part.due_at + DAY)
    part.refresh_from_db()
    assert (part.state, Batch.objects.get().missing) == ("lost", 5)


def leave_unfinished(part, fence=3, proven=True):
    """What a crash leaves after the file was named and before its index was whole."""
    with archive.writing(archive.results(part.pk, fence)) as file:
        file.write(b"".join(result_lines(part)))
    past = now() - LEASE
    crashed = {"owner": "x:1", "lease_until": past, "fence": fence, "results_fence": fence}
    MessageBatch.objects.update(**crashed, proven_at=past if proven else None)
    for position, row in enumerate(rows_of(part)[:2]):
        id = Request.key(part.pk, position)
        Result.objects.create(request_id=id, batch=part.batch, row=row, type="succeeded")


def test_crash_after_the_file_was_proven_is_only_indexed(api, part):
    leave_unfinished(part)
    assert collecting.step(now())
    part.refresh_from_db()
    assert (part.state, part.results_fence, part.crashes) == ("stored", 3, 0)
    assert check_index(part) == rows_of(part)
    assert part.tokens["output_tokens"] == 15
    assert api.connections == 0


def test_a_file_damaged_after_its_proof_is_collected_again(api, part):
    leave_unfinished(part)
    with archive.writing(archive.results(part.pk, 3)) as file:
        file.write(b"".join(result_lines(part)[:4]))
    assert collecting.step(now())
    part.refresh_from_db()
    assert (part.state, part.proven_at) == ("submitted", None)
    said = "was damaged on our disk: 4 of 5 answers can be read. It is collected again."
    assert said in Event.objects.get(verb="damaged").sentence
    collect(part, body(result_lines(part)), api=api)
    assert (part.state, part.reason) == ("stored", "")
    assert check_index(part) == rows_of(part)


def test_a_file_that_is_gone_after_its_proof_is_collected_again(api, part):
    leave_unfinished(part)
    archive.results(part.pk, 3).unlink()
    assert collecting.step(now())
    collect(part, body(result_lines(part)), api=api)
    assert part.state == "stored"


def test_crash_while_a_part_is_given_up_loses_nothing_that_came(api, part):
    leave_unfinished(part, proven=False)
    MessageBatch.objects.update(created_at=now() - 29 * DAY)
    collect(part, GONE, api=api)
    assert check_index(part) == rows_of(part)
    assert not Result.objects.filter(type="missing").exists()
    said = "Part 1 is closed: every row has its answer. The API no longer has the results."
    assert Event.objects.get(verb="lost").sentence == said


def test_worker_that_lost_its_lease_names_no_file(api, part):
    def be_overtaken(request):
        MessageBatch.objects.update(fence=9)
        return body(result_lines(part))

    collect(part, be_overtaken, api=api)
    assert (part.state, part.results_fence, part.fence) == ("submitted", None, 9)
    assert not Result.objects.exists()
    collect(part, body(result_lines(part)), api=api, at=now() + 2 * LEASE)
    assert (part.state, part.results_fence) == ("stored", 10)


def test_worker_that_lost_its_lease_deletes_no_index(api, part):
    leave_unfinished(part)
    stale = MessageBatch.objects.get()
    assert collecting.step(now())
    with pytest.raises(LeaseLost):
        indexing.write_index(stale, indexing.scan(stale), Renewal(stale))
    assert check_index(MessageBatch.objects.get()) == rows_of(part)


def test_late_results_of_a_part_that_was_sent_again_do_not_count(api, batch):
    late = make_ended(batch)
    make_part(batch, state="stored", replaces=late, rows=rows_of(late))
    collect(late, body(result_lines(late)), api=api)
    assert (late.state, Result.objects.count()) == ("stored", 5)
    counted = Batch.objects.get()
    assert (counted.sent, counted.succeeded) == (0, 0)
    assert counted.tokens["output_tokens"] == 15


def test_late_results_count_where_the_second_attempt_was_not_sent(api, batch):
    late = make_ended(batch)
    make_part(batch, state="dropped", replaces=late, rows=rows_of(late))
    collect(late, body(result_lines(late)), api=api)
    counted = Batch.objects.get()
    assert (counted.sent, counted.succeeded, counted.not_sent) == (5, 5, 0)


def test_without_a_key_it_waits(part):
    assert collecting.step(now())
    part.refresh_from_db()
    assert (part.state, "has no API key" in part.reason) == ("submitted", True)


def test_what_is_not_ended_or_not_due_is_left_alone(api, batch):
    make_ended(batch, processing_status="in_progress")
    make_ended(batch, 6, message_batch_id="msgbatch_2", due_at=now() + HOUR)
    make_part(batch, 7, "unknown")
    assert not collecting.step(now())
    make_ended(batch, 8, message_batch_id="msgbatch_3")
    assert not collecting.step(now(), only=make_batch(batch.workspace))


def test_more_rows_than_one_chunk(api, batch):
    part = make_ended(batch, 4_100)
    collect(part, body(result_lines(part)), api=api)
    assert part.state == "stored"
    rows = list(Result.objects.of(part.pk).order_by("pk").values_list("row", flat=True))
    assert rows == rows_of(part)


def test_what_the_answers_cost(batch, api, part):
    stored = collect(part, body(result_lines(part)), api=api)
    # 7 tokens in, 3 out, 2 from the cache: 11.1 millionths of a dollar each.
    costs = {str(cost) for cost in Result.objects.values_list("cost", flat=True)}
    assert costs == {"0.00001110"}
    assert str(stored.cost) == "0.000056"
    batch.refresh_from_db()
    assert batch.cost == stored.cost


def test_only_answers_are_billed(api, part):
    rows = rows_of(part)
    kinds = ["succeeded", "errored", "canceled", "expired", "expired"]
    lines = [result_line(part.custom_id(r), kind) for r, kind in zip(rows, kinds, strict=True)]
    counts = {"succeeded": 1, "errored": 1, "canceled": 1, "expired": 2}
    MessageBatch.objects.filter(pk=part.pk).update(**counts)
    assert str(collect(part, body(lines), api=api).cost) == "0.000011"


def test_a_refusal_without_content_is_free(api, batch):
    part = make_ended(batch, 1)
    line = result_line(part.custom_id(2)).replace(b"end_turn", b"refusal")
    line = line.replace(b'[{"type": "text", "text": "yes"}]', b"[]")
    assert collect(part, body([line]), api=api).cost == 0


def test_one_price_that_is_not_known_leaves_the_sum_open(api, batch, part):
    lines = result_lines(part)
    lines[2] = lines[2].replace(b"claude-haiku-4-5", b"claude-next")
    assert collect(part, body(lines), api=api).cost is None
    batch.refresh_from_db()
    assert batch.cost is None
    assert Result.objects.filter(cost=None).count() == 1


def test_a_batch_has_its_cost_when_all_parts_have(api, batch, part):
    make_part(batch, 3, "submitted", message_batch_id="msgbatch_2")
    assert collect(part, body(result_lines(part)), api=api).cost is not None
    batch.refresh_from_db()
    assert batch.cost is None


def test_what_is_incomplete_has_no_cost_yet(api, part):
    incomplete = collect(part, body(result_lines(part)[1:]), api=api)
    assert (incomplete.state, incomplete.cost) == ("incomplete", None)
