from datetime import timedelta
from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import strip_tags

from batches.models import Batch, MessageBatch, Run, Upload
from tests.batches.html import link_named
from tests.cast import Cast
from workspaces.keys import save_key
from workspaces.models import ApiKey

DAY = timedelta(days=1)


def make_batch(cast: Cast, name: str = "Review themes", **fields: object) -> Batch:
    return Batch.objects.create(workspace=cast.workspace, name=name, **fields)


def make_part(batch: Batch, state: str = "submitted", **fields: object) -> MessageBatch:
    run = Run.objects.create(batch=batch, token="t", recipe={}, state="built")
    values = {"workspace": batch.workspace, "batch": batch, "run": run, "part": 1, "size": 10}
    return MessageBatch.objects.create(state=state, **{**values, **fields})


def text_of(cast: Cast, name: str = "vera", page: str = "") -> str:
    response = cast.client(getattr(cast, name)).get(f"/w/acme/{page}")
    assert response.status_code == 200
    return " ".join(unescape(strip_tags(response.content.decode().replace("<", " <"))).split())


def test_it_shows_what_runs_and_what_came_in(cast: Cast) -> None:
    make_batch(cast, "Tickets", state="in_progress", rows=50, sent=50, parts=2, parts_ended=1)
    make_batch(cast, "Invoices", state="ended", rows=7, sent=7, succeeded=7)
    text = text_of(cast)
    running, lately = text.index("Running All batches"), text.index("Came in lately")
    assert running < text.index("Tickets") < lately < text.index("Invoices")
    assert "New batch" in text_of(cast, "bob")
    assert "New batch" not in text


def test_an_empty_workspace_says_how_to_begin(cast: Cast) -> None:
    text = text_of(cast, "alice")
    assert "Add an API key" in text
    assert "Upload a file Try it with 200 example reviews" in text
    assert "An owner can add it." in text_of(cast, "bob")
    viewers = text_of(cast)
    assert "Upload a file" not in viewers
    assert "Ask an owner: alice." in viewers


def test_with_a_key_nobody_is_asked_for_one(cast: Cast) -> None:
    save_key(cast.workspace, "claude", "sk-ant-acme-secret")
    assert "Add an API key" not in text_of(cast, "alice")


def test_without_anything_to_do_nothing_needs_anybody(cast: Cast) -> None:
    make_batch(cast, state="ended", sent=1, succeeded=1)
    text = text_of(cast)
    assert "Needs you" not in text
    assert "Nothing runs now." in text


def test_a_part_that_is_unknown_needs_a_decision(cast: Cast) -> None:
    batch = make_batch(cast, "Translate catalogue")
    make_part(batch, "unknown", settled_at=timezone.now())
    batch.recount()
    said = f"#{batch.pk} Translate catalogue , part 1: we do not know whether it was created."
    assert f"{said} Decide" in text_of(cast, "bob")


def test_viewers_are_told_and_not_asked(cast: Cast) -> None:
    save_key(cast.workspace, "claude", "sk-ant-acme-secret")
    ApiKey.objects.update(refused="The API refuses this key (401).")
    batch = make_batch(cast, "Translate catalogue")
    make_part(batch, "unknown", settled_at=timezone.now())
    batch.recount()
    page = cast.client(cast.vera).get("/w/acme/").content.decode()
    assert f'<a href="/w/acme/batches/{batch.pk}/">#{batch.pk} Translate catalogue</a>' in page
    text = text_of(cast)
    assert "work goes on when a key works. Ask an owner." in text
    assert "Decide" not in text
    assert "works. API key" in text_of(cast, "alice")
    members = text_of(cast, "bob")
    assert "works. Ask an owner." in members
    assert "Decide" in members


def test_a_refused_key_is_no_decision_of_each_batch(cast: Cast) -> None:
    save_key(cast.workspace, "claude", "sk-ant-acme-secret")
    ApiKey.objects.update(refused="The API refuses this key (401).")
    stuck = make_batch(cast, "Stuck")
    make_part(stuck, "unknown", settled_at=timezone.now())
    stuck.recount()
    for number in range(6):
        batch = make_batch(cast, f"Waits {number}")
        make_part(batch)
        batch.recount()
        assert batch.state == "needs_you"
    assert f"#{stuck.pk} Stuck , part 1: we do not know" in text_of(cast)


def test_results_that_vanish_soon_are_told(cast: Cast) -> None:
    batch = make_batch(cast, "Tickets")
    part = make_part(batch, created_at=timezone.now() - 27 * DAY)
    batch.recount()
    assert "part 1: results are deleted at the API in 1 day and are not stored." in text_of(cast)
    html = cast.client(cast.bob).get("/w/acme/").content.decode()
    assert link_named(html, "Collect now") == f"/w/acme/batches/{batch.pk}/parts/{part.pk}/"
    for days, told in ((22.1, "in 6 days"), (28.9, "in 2 hours")):
        MessageBatch.objects.update(created_at=timezone.now() - days * DAY)
        assert f"results are deleted at the API {told} and are not stored." in text_of(cast)
    for days in (21.9, 29.1):
        MessageBatch.objects.update(created_at=timezone.now() - days * DAY)
        assert "are deleted at the API" not in text_of(cast)


def test_a_draft_with_problems_asks_to_be_opened(cast: Cast) -> None:
    upload = Upload.objects.create(
        workspace=cast.workspace,
        filename="reviews.csv",
        token="t",
        size=1,
        state="ready",
        problems={"total": 3, "first": []},
    )
    draft = make_batch(cast, "Reviews", upload=upload)
    said = f"#{draft.pk} Reviews , draft: 3 problems in the file."
    assert said in text_of(cast)
    Batch.objects.update(leave_out=3)
    assert said not in text_of(cast)
    Upload.objects.update(state="refused")
    assert "draft: the file cannot be read." in text_of(cast)


def test_a_refused_key_is_said_while_something_waits_for_it(cast: Cast) -> None:
    save_key(cast.workspace, "claude", "sk-ant-acme-secret")
    ApiKey.objects.update(refused="The API refuses this key (401).")
    batch = make_batch(cast)
    assert "refuses this key" not in text_of(cast)
    make_part(batch)
    batch.recount()
    assert "The API refuses this key (401). Nothing is lost" in text_of(cast)


def test_the_month_counts_rows_and_leaves_out_what_is_not_known(cast: Cast) -> None:
    batch = make_batch(cast, state="ended", sent=1000)
    part = make_part(
        batch,
        "stored",
        stored_at=timezone.now(),
        answers={"succeeded": 996, "errored": 4},
        tokens={"input_tokens": 41000, "cache_read_tokens": 1000, "output_tokens": 9600},
        api="claude",
    )
    text = text_of(cast)
    assert "Rows answered 1,000 Not succeeded 0.4 % Tokens in 42,000 Tokens out 9,600" in text
    assert "Spent" not in text
    MessageBatch.objects.filter(pk=part.pk).update(cost="41.20")
    text = text_of(cast)
    assert "Spent $41.20" in text
    assert "Saved by batching $41.20" in text
    MessageBatch.objects.filter(pk=part.pk).update(api="sandbox")
    assert "Spent" not in text_of(cast)
    MessageBatch.objects.filter(pk=part.pk).update(stored_at=timezone.now() - 40 * DAY)
    assert "This month" not in text_of(cast)


def test_the_live_part_is_silent_until_something_changes(cast: Cast) -> None:
    batch = make_batch(cast, "Tickets", state="in_progress", rows=5, sent=5, parts=2)
    client = cast.client(cast.vera)
    page = client.get("/w/acme/").content.decode()
    live = unescape(page.split('id="now" hx-get="')[1].split('"')[0])
    assert client.get(live).status_code == 204
    # What has ended meanwhile stays where it was.
    Batch.objects.filter(pk=batch.pk).update(state="ended", parts_ended=2, succeeded=5)
    body = client.get(live).content.decode()
    assert "hx-trigger" not in body
    assert "Tickets" in body.split("Came in lately")[0]


@pytest.mark.parametrize("kept", ["", "x", "1,²", "9" * 40, "1," * 400])
def test_a_live_address_that_somebody_made_up_does_no_harm(cast: Cast, kept: str) -> None:
    make_batch(cast)
    assert cast.client(cast.vera).get("/w/acme/live/", {"kept": kept}).status_code == 200


def test_other_workspaces_batches_are_not_in_it(cast: Cast) -> None:
    make_batch(cast)
    theirs = Batch.objects.create(workspace=cast.other, name="Not yours", state="in_progress")
    assert "Not yours" not in text_of(cast)
    assert "Not yours" not in text_of(cast, page=f"live/?kept={theirs.pk}")


def test_a_strip_says_when_the_sandbox_answers(cast: Cast) -> None:
    assert "Sandbox:" not in text_of(cast)
    save_key(cast.workspace, "sandbox", "sk-ant-acme-secret")
    text = text_of(cast)
    assert "Sandbox: answers are made up and nothing is billed." in text
    assert "sk-ant-acme" not in text


def test_more_rows_cost_no_more_queries(cast: Cast) -> None:
    client = cast.client(cast.vera)
    upload = Upload.objects.create(workspace=cast.workspace, filename="r.csv", token="t", size=1)

    def queries() -> int:
        for state in ("in_progress", "ended", "draft"):
            make_batch(cast, state=state, upload=upload, created_by=cast.bob)
        client.get("/w/acme/")
        with CaptureQueriesContext(connection) as found:
            client.get("/w/acme/")
        return len(found)

    first = queries()
    assert [queries() for _ in range(5)] == [first] * 5


def test_strangers_find_nothing(cast: Cast) -> None:
    assert cast.client(cast.charlie).get("/w/acme/").status_code == 404
    assert cast.client(cast.charlie).get("/w/acme/live/").status_code == 404
