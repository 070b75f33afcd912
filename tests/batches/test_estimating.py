import threading
from datetime import timedelta

import msgspec
import pytest
from django.db import connection

from batches import archive, estimating
from batches.findings import Finder, Findings, find_secret
from batches.models import Batch, Estimate
from batches.recipe import Recipe, Rendered, Renderer
from leases.models import LEASE
from leases.renewing import LeaseLost
from tests.batches import build
from tests.batches.stage import SECOND, make_workspace, now
from tests.scripted_api import Reply, refusal
from workspaces.models import ApiKey

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
COUNT = "/v1/messages/count_tokens"
RECIPE = {"model": "claude-haiku-4-5", "prompt": "Label {{text}}", "max_tokens": 16}


def make_draft(cells, **fields):
    rows = [
        archive.Row(number, reason=f"Row {number}: broken.")
        if cell is None
        else archive.Row(number, cells=[cell])
        for number, cell in enumerate(cells, 2)
    ]
    upload = build.make_upload(["text"], rows)
    workspace = make_workspace() if not fields.get("workspace") else fields["workspace"]
    upload.workspace = workspace
    upload.save()
    values = {"workspace": workspace, "recipe": RECIPE, "name": "Themes"}
    return Batch.objects.create(upload=upload, **values | fields)


def work(batch, at=None):
    """Let a worker make the estimate; it and what was found."""
    estimating.ask(batch, at or now())
    assert estimating.step(at or now())
    estimate = Estimate.objects.get(batch=batch)
    return estimate, msgspec.convert(estimate.findings, Findings)


def params(text, **more):
    body = {"model": "claude-haiku-4-5", "max_tokens": 16, **more, "messages": text}
    return msgspec.json.encode(body)


def test_it_works(at_sandbox, workspace):
    batch = make_draft(["short", "a" * 400, None, "x", "é" * 40], workspace=workspace)
    estimate, found = work(batch)
    assert (estimate.state, estimate.reason, estimate.due_at) == ("ready", "", None)
    assert (found.rows, found.left_out, found.first_row) == (4, 1, 2)
    assert [problem.what for problem in found.problems] == ["Row 4: broken."]
    (group,) = found.groups
    sizes = [len(estimating.render_row(batch, row).params) for row in (2, 3, 5, 6)]
    assert (group.model, group.rows, group.bytes) == ("claude-haiku-4-5", 4, sum(sizes))
    assert (found.largest, found.largest_row) == (max(sizes), 3)
    assert (group.output, group.most_output) == (64, 16)
    assert sorted(size for size, _ in group.counted) == sorted(sizes)
    assert all(tokens > 0 for _, tokens in group.counted)
    assert not estimating.step(now())


def test_of_many_rows_ten_are_counted(at_sandbox, workspace):
    batch = make_draft(["x" * length for length in range(1, 301)], workspace=workspace)
    _, found = work(batch)
    counted = sorted(size for size, _ in found.groups[0].counted)
    assert len(counted) == 10
    # From the shortest sampled to the longest of all.
    assert counted[-1] == found.largest
    assert counted[0] < found.bytes / 300 < counted[-1]


def test_what_the_recipe_leaves_out_is_named(at_sandbox, workspace):
    batch = make_draft(["one", " ", "two"], workspace=workspace)
    _, found = work(batch)
    assert (found.rows, found.left_out) == (2, 1)
    assert "every column that the prompt uses is empty" in found.problems[0].what


def test_without_a_key_all_but_the_tokens_stands(workspace):
    estimate, found = work(make_draft(["one"], workspace=workspace))
    assert (estimate.state, found.rows, found.tokens_are_counted) == ("ready", 1, False)
    assert estimate.reason == "The workspace Acme has no API key. Save one to go on."
    assert estimate.due_at is None


def test_a_refused_key_is_said_and_tried_again(api, key, workspace):
    api.plan("POST", COUNT, refusal(401, "authentication_error", "API key is invalid."))
    batch, at = make_draft(["one"], workspace=workspace), now()
    estimate, found = work(batch, at)
    assert "API key is invalid" in estimate.reason
    assert (found.rows, found.tokens_are_counted) == (1, False)
    key.refresh_from_db()
    assert "API key is invalid" in key.refused
    assert not estimating.step(at + timedelta(minutes=4))
    api.plan("POST", COUNT, Reply({"input_tokens": 12}))
    assert estimating.step(at + timedelta(minutes=6))
    estimate.refresh_from_db()
    assert (estimate.reason, estimate.due_at) == ("", None)
    assert estimate.findings["groups"][0]["counted"][0][1] == 12
    key.refresh_from_db()
    assert key.refused == ""


def test_a_model_that_the_api_does_not_know_is_not_asked_for_again(api, workspace):
    api.plan("POST", COUNT, refusal(404, "not_found_error", "model: claude-x"))
    estimate, found = work(make_draft(["one"], workspace=workspace))
    assert "model: claude-x" in estimate.reason
    assert (estimate.state, estimate.due_at, found.rows) == ("ready", None, 1)


def test_half_a_count_counts_nothing(api, workspace):
    api.plan("POST", COUNT, Reply({"input_tokens": 12}), refusal(529, "overloaded_error", "Busy"))
    _, found = work(make_draft(["one", "longer"], workspace=workspace))
    assert not found.tokens_are_counted


def test_a_recipe_with_a_fault_is_refused(workspace):
    broken = RECIPE | {"prompt": "{{citty}}"}
    estimate, _ = work(make_draft(["one"], workspace=workspace, recipe=broken))
    assert estimate.state == "refused"
    assert estimate.reason.startswith("`{{citty}}`: no such column.")


def test_a_changed_draft_is_estimated_anew(workspace):
    batch = make_draft(["one"], workspace=workspace)
    work(batch)
    assert estimating.ask(batch, now()).state == "ready"
    batch.recipe = RECIPE | {"max_tokens": 32}
    batch.save()
    assert estimating.ask(batch, now()).state == "queued"
    _, found = work(batch)
    assert found.groups[0].most_output == 32


def test_another_key_is_another_estimate(workspace):
    batch = make_draft(["one"], workspace=workspace)
    work(batch)
    ApiKey.seal(workspace, "sandbox", "sk-ant-one-two")
    assert estimating.ask(batch, now()).state == "queued"


def test_what_was_begun_for_the_old_draft_is_dropped(workspace):
    batch = make_draft(["one"], workspace=workspace)
    at = now()
    estimating.ask(batch, at)
    claimed = Estimate.objects.claim("worker", at)
    batch.recipe = RECIPE | {"max_tokens": 32}
    batch.save()
    estimating.ask(batch, at)
    assert not claimed.release(None, state="ready")
    with pytest.raises(LeaseLost):
        estimating.say_progress(claimed, estimating.Renewal(claimed), 20_000)
    # At once, without waiting for the lease of the other to run out.
    assert estimating.step(at + SECOND)


def test_what_is_counted_later_is_of_the_draft_that_was_looked_at(api, workspace):
    api.plan("POST", COUNT, refusal(529, "overloaded_error", "Busy"))
    batch = make_draft(["one"], workspace=workspace)
    estimate, _ = work(batch)
    longer = RECIPE | {"prompt": "Say something longer of {{text}}"}
    Batch.objects.filter(pk=batch.pk).update(recipe=longer)
    api.plan("POST", COUNT, Reply({"input_tokens": 12}))
    at = estimate.due_at + SECOND
    while estimating.step(at):
        pass
    estimate.refresh_from_db()
    batch.refresh_from_db()
    assert estimate.digest == estimating.digest_of(batch)
    counted = msgspec.convert(estimate.findings, Findings).groups[0].counted
    assert counted == [(len(estimating.render_row(batch, 2).params), 12)]


def test_what_a_dead_worker_left_is_begun_again(workspace):
    batch, at = make_draft(["one"], workspace=workspace), now()
    estimating.ask(batch, at)
    Estimate.objects.claim("dead", at)
    assert not estimating.step(at)
    assert estimating.step(at + LEASE)
    assert Estimate.objects.get(batch=batch).state == "ready"


def test_two_who_ask_at_once_get_one_estimate(workspace):
    batch = make_draft(["one"], workspace=workspace)
    barrier, failures = threading.Barrier(2), []

    def ask():
        try:
            barrier.wait(5)
            estimating.ask(Batch.objects.get(pk=batch.pk), now())
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Estimate.objects.filter(batch=batch).count() == 1


def test_ready_requests_are_taken_by_model(workspace):
    rows = [
        archive.Row(number, own_id=str(number), params=msgspec.Raw(body))
        for number, body in enumerate(
            [params("a"), params("bb", model="claude-opus-5", max_tokens=100), params("c")], 1
        )
    ]
    upload = build.make_upload([], rows)
    batch = Batch.objects.create(workspace=upload.workspace, upload=upload, name="Ready")
    _, found = work(batch)
    assert [(group.model, group.rows, group.output) for group in found.groups] == [
        ("claude-haiku-4-5", 2, 32),
        ("claude-opus-5", 1, 100),
    ]


def test_only_the_draft_of_a_batch_that_is_followed(workspace):
    batch, other = (make_draft(["one"], workspace=workspace) for _ in range(2))
    estimating.ask(other, now())
    assert not estimating.step(now(), batch)
    assert estimating.step(now(), other)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("my key is sk-ant-api03-abcdefghijklmnop", "sk-ant-"),
        ("AKIAIOSFODNN7EXAMPLE", "AKIA"),
        ("-----BEGIN RSA PRIVATE KEY-----", "PRIVATE KEY"),
        ("ghp_" + "a" * 36, "ghp_"),
        ("the sk-ant- prefix", ""),
        ("a PRIVATE KEY of the house", ""),
        ("akiaiosfodnn7example", ""),
    ],
)
def test_secrets(text, start):
    assert find_secret(text.encode()) == start


def test_a_secret_is_never_shown():
    finder = Finder()
    finder.take(4, Rendered("4", params("sk-ant-api03-abcdefghijklmnop")))
    kept = msgspec.json.encode(finder.findings)
    assert (finder.findings.secret_rows, finder.findings.secrets[0].row) == (1, 4)
    assert b"abcdefgh" not in kept


def test_what_is_kept_does_not_grow_with_the_rows():
    finder = Finder()
    for number in range(3_000):
        finder.take(number, Rendered("", params("x" * (number % 700), model=f"m{number % 200}")))
        finder.leave_out([])
    assert len(finder.findings.groups) <= 51
    assert sum(group.rows for group in finder.findings.groups) == 3_000
    assert max(len(group.sample) for group in finder.findings.groups) <= 200


def test_what_the_cache_may_hold():
    cached = Recipe(model="m", prompt="{{a}}", system="s" * 80, cache_system=True)
    rendered = Renderer(cached, ["a"]).render(archive.Row(2, cells=['"cache_control"']))
    finder = Finder()
    finder.take(2, rendered)
    (group,) = finder.findings.groups
    assert 80 < group.cached_bytes < group.bytes
    finder.take(3, Rendered("3", params("hi", cache_control={"type": "ephemeral"})))
    assert finder.findings.groups[1].cached_bytes == finder.findings.groups[1].bytes
