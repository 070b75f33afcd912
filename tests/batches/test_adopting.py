"""Batches of scripts: listed, adopted, collected, numbered, and put beside the rows of a file."""

import json
from datetime import timedelta
from typing import Any

import pytest

from batches import (
    adopted_rows,
    adopting,
    archive,
    collecting,
    deleting,
    matching,
    reconciling,
    reindexing,
)
from batches.deciding import CannotResolve
from batches.exporting import ExportRefused, export
from batches.models import Batch, Listing, Match, MessageBatch, Request, Result
from tests.batches.ended import DAY
from tests.batches.stage import (
    HOUR,
    MINUTE,
    SandboxScope,
    body_of,
    foreign_body,
    make_batch,
    make_part,
    make_upload,
    make_workspace,
    now,
    remote,
    result_line,
)
from tests.scripted_api import BATCHES, Reply, ScriptedApi, page, refusal
from workspaces.models import ApiKey, Event, Workspace

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


def look(workspace: Workspace) -> Listing:
    listing = Listing.ask(workspace, now())
    assert adopting.step(now())
    listing.refresh_from_db()
    return listing


def ids(listing: Listing) -> list[str]:
    return [one.id for one in adopting.found_in(listing)]


def list_these(api: ScriptedApi, *remotes: dict[str, Any]) -> None:
    api.plan("GET", BATCHES, page(*remotes))


def answer(api: ScriptedApi, id: str, lines: list[bytes]) -> None:
    api.plan("GET", f"{BATCHES}/{id}/results", Reply(b"".join(lines)))


def collect_it(batch: Batch, **changes: Any) -> MessageBatch:
    part = batch.message_batches.get()
    MessageBatch.objects.filter(pk=part.pk).update(due_at=now() - MINUTE, **changes)
    assert collecting.step(now())
    part.refresh_from_db()
    batch.refresh_from_db()
    return part


def adopted(
    api: ScriptedApi, workspace: Workspace, names: list[str], id: str = "msgbatch_1"
) -> Batch:
    """A batch of these ids that has ended, adopted and not collected yet."""
    list_these(api, remote(id, len(names), "ended"))
    look(workspace)
    answer(api, id, [result_line(name) for name in names])
    return adopting.adopt(workspace, id, now())


def rows(batch: Batch) -> list[tuple[int, str]]:
    return list(Request.objects.filter(batch=batch).order_by("row").values_list("row", "own_id"))


def test_it_works(at_sandbox: SandboxScope, workspace: Workspace) -> None:
    at_sandbox.change(batch_seconds=0)
    id = at_sandbox.create(foreign_body(12))
    assert ids(look(workspace)) == [id]
    batch = adopting.adopt(workspace, id, now())
    assert (batch.upload, batch.recipe, batch.rows, batch.is_adopted) == (None, {}, 12, True)
    part = collect_it(batch)
    assert (part.state, part.run, batch.state, batch.sent) == ("stored", None, "ended", 12)
    assert rows(batch) == [(place + 1, f"theirs-{place}") for place in range(12)]
    assert part.proof["answered"] == part.proof["sent"] == 12
    assert Result.objects.of(part.pk).count() == 12
    assert batch.cost is not None
    content = b"".join(export(batch, "csv")).decode().splitlines()
    assert content[0].startswith("custom_id,result,text")
    assert [line.partition(",")[0] for line in content[1:]] == [name for _, name in rows(batch)]
    lines = [json.loads(line) for line in b"".join(export(batch, "jsonl")).splitlines()]
    assert [line["custom_id"] for line in lines] == [name for _, name in rows(batch)]
    assert ids(look(workspace)) == []
    assert Event.objects.filter(subject=f"batch:{batch.pk}", verb="adopted").count() == 1


def test_older_pages_follow_until_29_days_ago(api: ScriptedApi, workspace: Workspace) -> None:
    new, old = remote("msgbatch_2"), remote("msgbatch_1", at=now() - 30 * DAY)
    api.plan("GET", BATCHES, page(new, has_more=True), page(old, has_more=True))
    listing = look(workspace)
    assert (ids(listing), listing.seen, listing.more) == (["msgbatch_2"], 2, False)
    assert "after_id=msgbatch_2" in api.requests[-1].query


def test_what_somebody_here_has_is_not_listed(api: ScriptedApi, workspace: Workspace) -> None:
    other = make_workspace("other")
    make_part(make_batch(workspace), state="submitted", message_batch_id="msgbatch_1")
    make_part(make_batch(other), state="stored", message_batch_id="msgbatch_2")
    list_these(api, *(remote(f"msgbatch_{number}") for number in (3, 2, 1)))
    listing = look(workspace)
    assert (ids(listing), listing.looked_for) == (["msgbatch_3"], [])


def test_what_another_workspace_has_deleted_here_is_not_listed(
    api: ScriptedApi, workspace: Workspace
) -> None:
    other = make_workspace("other")
    theirs = make_batch(other)
    for number in (1, 2):
        batch, id = (theirs, "msgbatch_1") if number == 1 else (make_batch(workspace), "msgbatch_2")
        make_part(batch, state="stored", message_batch_id=id, created_at=now())
        Batch.objects.filter(pk=batch.pk).update(state="ended", deleting_at=now())
        while deleting.step(now()):
            pass
    assert not MessageBatch.objects.exists()
    list_these(api, remote("msgbatch_2"), remote("msgbatch_1"))
    assert ids(look(workspace)) == ["msgbatch_2"]
    other.delete()
    assert ids(look(workspace)) == ["msgbatch_2"]


def test_what_may_be_an_unknown_part_is_not_listed(
    api: ScriptedApi, workspace: Workspace, key: ApiKey
) -> None:
    other = make_workspace("other")
    sent = {"sent_at": now() - MINUTE, "account": key.account()}
    ours = make_part(make_batch(workspace), 5, "unknown", **sent)
    make_part(make_batch(other), 6, "sending", **sent)
    before = remote("msgbatch_3", 5, at=now() - 3 * HOUR)
    list_these(api, remote("msgbatch_1", 5), remote("msgbatch_2", 6), before)
    listing = look(workspace)
    assert (ids(listing), listing.looked_for) == (["msgbatch_3"], [ours.pk])


def test_nothing_is_adopted_that_is_looked_for_since(
    api: ScriptedApi, workspace: Workspace, key: ApiKey
) -> None:
    list_these(api, remote("msgbatch_1", 5))
    look(workspace)
    key.refresh_from_db()
    place = {"account": key.account(), "sent_at": now() - MINUTE}
    make_part(make_batch(workspace), 5, "sending", **place)
    with pytest.raises(CannotResolve, match="may be a part that is being looked for"):
        adopting.adopt(workspace, "msgbatch_1", now())
    assert Batch.objects.count() == 1


def test_two_who_press_make_one_batch(api: ScriptedApi, workspace: Workspace) -> None:
    list_these(api, remote("msgbatch_1"))
    listing = look(workspace)
    adopting.adopt(workspace, "msgbatch_1", now())
    with pytest.raises(CannotResolve, match="msgbatch_1 was adopted already"):
        adopting.adopt(workspace, "msgbatch_1", now())
    assert Batch.objects.count() == 1
    assert list(adopting.not_adopted(listing)) == []


@pytest.mark.parametrize(
    ("shown", "sentence"),
    [
        (remote("msgbatch_1", 0), "It holds 0 requests"),
        (remote("msgbatch_1", 131_072), "It holds 131,072 requests"),
        (remote("msgbatch_1") | {"archived_at": now().isoformat()}, "Its results are deleted"),
        (remote("msgbatch_2"), "not on the list any more"),
    ],
)
def test_what_cannot_be_adopted(
    api: ScriptedApi, workspace: Workspace, shown: dict[str, Any], sentence: str
) -> None:
    list_these(api, shown)
    look(workspace)
    with pytest.raises(CannotResolve, match=sentence):
        adopting.adopt(workspace, "msgbatch_1", now())


def test_a_list_of_another_key_is_not_believed(api: ScriptedApi, workspace: Workspace) -> None:
    list_these(api, remote("msgbatch_1"))
    look(workspace)
    ApiKey.objects.update(anthropic_workspace="another")
    with pytest.raises(CannotResolve, match="made with another key"):
        adopting.adopt(workspace, "msgbatch_1", now())


def test_a_workspace_without_a_key(workspace: Workspace) -> None:
    listing = look(workspace)
    assert (listing.state, listing.due_at) == ("refused", None)
    assert "has no API key" in listing.reason


def test_a_key_that_is_refused_says_so(api: ScriptedApi, workspace: Workspace) -> None:
    api.plan("GET", BATCHES, refusal(401, "authentication_error", "invalid x-api-key"))
    listing = look(workspace)
    assert listing.state == "refused"
    assert "invalid x-api-key" in listing.reason


def test_a_busy_api_is_asked_again(api: ScriptedApi, workspace: Workspace) -> None:
    busy = refusal(429, "rate_limit_error", "Slow down.", retry_after="7")
    api.plan("GET", BATCHES, busy, page(remote("msgbatch_1")))
    listing = look(workspace)
    assert listing.state == "listing"
    assert "Slow down" in listing.reason
    assert adopting.step(now() + MINUTE)
    listing.refresh_from_db()
    assert (listing.state, ids(listing), listing.reason) == ("done", ["msgbatch_1"], "")


def test_one_that_runs_is_watched(at_sandbox: SandboxScope, workspace: Workspace) -> None:
    id = at_sandbox.create(foreign_body(2))
    look(workspace)
    batch = adopting.adopt(workspace, id, now())
    assert batch.state == "in_progress"
    assert not collecting.step(now())
    assert MessageBatch.objects.watched().get().message_batch_id == id


def test_a_file_that_breaks_off_is_incomplete_and_then_whole(
    api: ScriptedApi, workspace: Workspace
) -> None:
    names = ["r10", "r9", "r1"]
    batch = adopted(api, workspace, names)
    answer(api, "msgbatch_1", [result_line("r10"), result_line("r9")])
    part = collect_it(batch)
    assert (part.state, batch.waiting) == ("incomplete", 1)
    assert "1 of 3 answers are missing" in part.reason
    assert rows(batch) == [(1, "r9"), (2, "r10"), (3, "")]
    answer(api, "msgbatch_1", [result_line(name) for name in names])
    part = collect_it(batch)
    assert (part.state, batch.waiting) == ("stored", 0)
    assert rows(batch) == [(1, "r1"), (2, "r9"), (3, "r10")]
    texts = [line.split(",")[0] for line in b"".join(export(batch, "csv")).decode().split("\r\n")]
    assert texts == ["custom_id", "r1", "r9", "r10", ""]


def test_a_line_twice_and_one_too_many(api: ScriptedApi, workspace: Workspace) -> None:
    batch = adopted(api, workspace, ["a", "b"])
    answer(api, "msgbatch_1", [result_line(name) for name in ("a", "b", "c")])
    part = collect_it(batch)
    assert part.state == "incomplete"
    assert "1 line is not ours" in part.reason
    answer(api, "msgbatch_1", [result_line("a"), result_line("a", text="no"), result_line("b")])
    assert "1 row has two different answers" in collect_it(batch).reason


def test_counts_that_differ_are_said(api: ScriptedApi, workspace: Workspace) -> None:
    batch = adopted(api, workspace, ["a", "b"])
    api.plan("GET", f"{BATCHES}/msgbatch_1", Reply(remote("msgbatch_1", 2, "ended")))
    answer(api, "msgbatch_1", [result_line("a"), result_line("b", "errored")])
    assert "1 succeeded where the API counts 2" in collect_it(batch).reason


def test_results_that_never_came_are_missing(api: ScriptedApi, workspace: Workspace) -> None:
    batch = adopted(api, workspace, ["a", "b"])
    part = collect_it(batch, stop_waiting_at=now())
    assert (part.state, batch.missing, batch.state) == ("lost", 2, "ended")
    assert rows(batch) == [(1, ""), (2, "")]


def test_it_is_collected_again_in_the_same_rows(api: ScriptedApi, workspace: Workspace) -> None:
    batch = adopted(api, workspace, ["b", "a"])
    part = collect_it(batch)
    before = rows(batch)
    archive.results(part.pk, part.results_fence or 0).unlink()
    part = collect_it(batch, proven_at=None)
    assert (part.state, rows(batch), Result.objects.count()) == ("stored", before, 2)


def test_the_index_is_made_again_from_the_file(api: ScriptedApi, workspace: Workspace) -> None:
    part = collect_it(adopted(api, workspace, ["b", "a", "c"]))
    before = list(Result.objects.order_by("pk").values())
    assert reindexing.reindex(part, now()) == 3
    assert list(Result.objects.order_by("pk").values()) == before


def test_natural_order() -> None:
    names = ["r10", "r2", "r02", "10", "9", "", "x"]
    expected = ["", "9", "10", "r02", "r2", "r10", "x"]
    assert sorted(names, key=adopted_rows.natural_order) == expected


def test_ids_that_fit_a_file_are_offered_and_put_beside_it(
    api: ScriptedApi, workspace: Workspace
) -> None:
    make_upload(workspace, ["c", "x", "y"])
    upload = make_upload(workspace, ["c", None, "a", "b", "unasked"])
    batch = adopted(api, workspace, ["b", "c", "a"])
    assert not matching.step(now())
    collect_it(batch)
    assert matching.step(now())
    match = Match.objects.get()
    assert (match.state, match.upload, match.column) == ("fits", upload, "text")
    assert matching.confirm(match, now())
    assert not matching.confirm(match, now())
    with pytest.raises(ExportRefused, match="are being numbered"):
        export(batch, "csv")
    assert matching.step(now())
    batch.refresh_from_db()
    match.refresh_from_db()
    assert (match.state, batch.upload, batch.sent) == ("shown", upload, 3)
    assert rows(batch) == [(2, "c"), (4, "a"), (5, "b")]
    content = b"".join(export(batch, "csv")).decode().splitlines()
    assert content[0].startswith("text,custom_id,result")
    assert [line.split(",")[:3] for line in content[1:]] == [
        ["c", "c", "succeeded"],
        ["3", "left_out", ""],
        ["a", "a", "succeeded"],
        ["b", "b", "succeeded"],
        ["unasked", "6", "not_chosen"],
    ]
    assert "Not in the adopted batch." in content[5]


def test_a_worker_that_dies_while_it_numbers(api: ScriptedApi, workspace: Workspace) -> None:
    make_upload(workspace, ["c", "a"])
    batch = adopted(api, workspace, ["a", "c"])
    part = collect_it(batch)
    assert matching.step(now())
    assert matching.confirm(Match.objects.get(), now())
    Result.objects.delete_part(part.pk)
    Request.objects.delete_part(part.pk)
    assert matching.step(now())
    assert rows(batch) == [(2, "c"), (3, "a")]
    assert Result.objects.count() == 2


@pytest.mark.parametrize("cells", [["a", "a", "b"], ["a", "x", "y"], ["a"]])
def test_ids_that_do_not_fit(api: ScriptedApi, workspace: Workspace, cells: list[str]) -> None:
    make_upload(workspace, cells)
    make_upload(make_workspace("other"), ["a", "b"])
    collect_it(adopted(api, workspace, ["a", "b"]))
    assert matching.step(now())
    assert Match.objects.get().state == "none"
    assert not matching.step(now() + timedelta(days=1))


def test_a_file_that_is_gone_when_it_is_to_be_shown(api: ScriptedApi, workspace: Workspace) -> None:
    upload = make_upload(workspace, ["a", "b"])
    batch = adopted(api, workspace, ["a", "b"])
    collect_it(batch)
    assert matching.step(now())
    assert matching.confirm(Match.objects.get(), now())
    archive.delete("uploads", upload.pk)
    assert matching.step(now())
    assert Match.objects.get().state == "none"
    assert rows(batch) == [(1, "a"), (2, "b")]
    assert b"".join(export(batch, "csv")).count(b"succeeded") == 2


def test_after_a_restored_backup_a_queued_part_is_taken_and_not_sent(
    at_sandbox: SandboxScope, workspace: Workspace
) -> None:
    at_sandbox.change(batch_seconds=0)
    part = make_part(make_batch(workspace), 3)
    id = at_sandbox.create(body_of(part))
    stranger = at_sandbox.create(foreign_body(3))
    found = {one.id: one.part for one in adopting.found_in(look(workspace))}
    assert found == {id: part.pk, stranger: 0}
    adopting.adopt(workspace, id, now())
    part.refresh_from_db()
    assert (part.state, part.adopt_id) == ("dropped", id)
    assert reconciling.step(now())
    part.refresh_from_db()
    assert (part.state, part.message_batch_id) == ("submitted", id)
    assert len(at_sandbox.ledger()["creates"]) == 2
    assert ids(look(workspace)) == [stranger]


def test_what_another_workspace_lost_is_not_shown(
    at_sandbox: SandboxScope, workspace: Workspace
) -> None:
    at_sandbox.change(batch_seconds=0)
    other = make_workspace("other")
    at_sandbox.save_key(other)
    part = make_part(make_batch(other), 3)
    id = at_sandbox.create(body_of(part))
    assert ids(look(workspace)) == []
    assert ids(look(other)) == [id]


def test_a_dropped_part_is_known_by_its_journal(api: ScriptedApi, workspace: Workspace) -> None:
    part = make_part(make_batch(workspace), 3, "dropped")
    with archive.writing(archive.created(part.pk)) as file:
        created = {"nonce": part.nonce, "request_id": "req_1", "at": now().isoformat()}
        shown = remote("msgbatch_1", 3)
        file.write(json.dumps(created | {"message_batch": shown}).encode())
    list_these(api, shown)
    assert [one.part for one in adopting.found_in(look(workspace))] == [part.pk]
    assert api.paths("GET") == [BATCHES]


def test_a_part_that_is_still_built_is_not_adopted(
    at_sandbox: SandboxScope, workspace: Workspace
) -> None:
    at_sandbox.change(batch_seconds=0)
    part = make_part(make_batch(workspace), 3, "building")
    id = at_sandbox.create(body_of(part))
    look(workspace)
    with pytest.raises(CannotResolve, match="still being built"):
        adopting.adopt(workspace, id, now())
    part.refresh_from_db()
    assert part.state == "building"
