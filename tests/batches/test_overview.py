from datetime import timedelta
from html import unescape
from itertools import product
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import strip_tags
from playwright.sync_api import Page, expect
from pytest_django import Settings

from batches import building, progress, starting
from batches.cancelling import request_cancel
from batches.figures import figures
from batches.models import Batch, MessageBatch, Run, Worker
from batches.planning import Selection
from batches.progress import PARTS_PER_PAGE
from batches.recipe import Recipe
from batches.worker import turn
from leases.clock import database_now
from leases.models import CRASH_LIMIT
from tests.batches.build import answer_part, errored, make_part, make_run, succeeded, table_rows
from tests.batches.build import make_upload as make_read_upload
from tests.browser import Site
from tests.cast import Cast, gather
from tests.processes import Sandbox, wait_until
from tests.workspaces.test_pages_in_browser import sign_in
from workspaces.keys import save_key
from workspaces.models import ApiKey, Event

MINUTE = timedelta(minutes=1)


def make_batch(cast: Cast, *cells: str, **fields: object) -> Batch:
    """A table of one column, in the workspace of the cast."""
    upload = make_read_upload(["review"], table_rows(*([cell] for cell in cells)))
    upload.workspace = cast.workspace
    upload.save()
    return Batch.objects.create(
        workspace=cast.workspace,
        upload=upload,
        name="Review themes",
        rows=len(cells),
        recipe={"model": "claude-haiku-4-5", "prompt": "Theme: {{review}}"},
        **fields,
    )


def address(batch: Batch, page: str = "") -> str:
    return f"/w/acme/batches/{batch.pk}/{page}"


def text_of(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return " ".join(unescape(strip_tags(response.content.decode())).split())


def an_ended_batch(cast: Cast) -> Batch:
    batch = make_batch(cast, "keeps warm", "it broke", "fine")
    part = make_part(make_run(batch), [2, 3, 4], processing_status="ended")
    bad = errored("invalid_request_error", "too long")
    answer_part(part, {2: succeeded("warmth"), 3: bad, 4: succeeded("nothing")})
    count_answers(part, succeeded=2, errored=1)
    return batch


def count_answers(part: MessageBatch, **counts: int) -> None:
    MessageBatch.objects.filter(pk=part.pk).update(answers=part.count_answers(), **counts)
    part.batch.recount()


def test_it_shows_what_came_of_a_batch(cast: Cast) -> None:
    batch = an_ended_batch(cast)
    text = text_of(cast.client(cast.vera), address(batch))
    assert "Rows 3 Sent 3 Succeeded 2 Errored 1" in text
    assert "All 3 answers are here: sent 3, answered 3, missing 0." in text
    assert "2 keeps warm warmth" in text
    assert "4 fine nothing" in text
    assert "Sent 3, answered 3, missing 0, unexpected 0." in text


def test_figures_that_are_filters_lead_there(cast: Cast) -> None:
    batch = an_ended_batch(cast)
    page = cast.client(cast.vera).get(address(batch)).content.decode()
    assert f'href="{address(batch, "results/")}?type=errored"' in page


@pytest.mark.parametrize("state", ["building", "in_progress", "collecting", "ended", "refused"])
@pytest.mark.parametrize(("left_out", "not_sent", "parts"), list(product((0, 3), (0, 4), (0, 2))))
@pytest.mark.parametrize("answers", [(), (5, 0, 0, 0, 0), (1, 2, 3, 4, 5), (0, 0, 7, 0, 0)])
def test_the_figures_add_up(
    state: str, left_out: int, not_sent: int, parts: int, answers: tuple[int, ...]
) -> None:
    names = ("succeeded", "errored", "canceled", "expired", "missing")
    counts = dict(zip(names, answers, strict=bool(answers)))
    sent = 20 if parts else 0
    batch = Batch(
        state=state,
        rows=40,
        left_out=left_out,
        not_sent=not_sent,
        sent=sent,
        parts=parts,
        **(counts if parts else {}),
    )
    found = [(figure.label, figure.number) for figure in figures(batch)]
    place = [label for label, _ in found].index("Sent")
    rows, first, second = found[0], found[1 : place + 1], found[place + 1 :]
    assert rows == ("Rows", 40)
    assert sum(number or 0 for _, number in first) == 40
    assert sum(number or 0 for _, number in second) == sent
    # Zero terms are left out; what is not known is said to be so.
    assert all(number for label, number in found if label not in ("Sent", "Succeeded"))


def test_what_is_not_known_yet_is_not_zero(cast: Cast) -> None:
    batch = make_batch(cast, "one", "two")
    make_part(make_run(batch), [2, 3], processing_status="in_progress")
    batch.recount()
    text = text_of(cast.client(cast.vera), address(batch))
    assert "Succeeded – Waiting 2" in text
    assert "Waiting for 1 part of 2 requests." in text
    assert "Most end within an hour." in text


def test_several_parts_are_counted_and_a_single_one_has_no_bar(cast: Cast) -> None:
    batch = make_batch(cast, "one", "two", "three")
    run = make_run(batch)
    first = make_part(run, [2], processing_status="ended")
    client = cast.client(cast.vera)
    assert "segments" not in client.get(address(batch)).content.decode()
    make_part(run, [3, 4], processing_status="in_progress")
    answer_part(first, {2: succeeded("yes")})
    count_answers(first, succeeded=1)
    page = client.get(address(batch)).content.decode()
    assert '<li class="full" title="Part 1: ended, 1 of 1 succeeded">' in page
    assert '<li class="half" title="Part 2: in progress, 2 requests">' in page
    assert "1 of 2 parts ended." in strip_tags(page)


@pytest.mark.parametrize(
    ("answers", "shape"),
    [
        ({"canceled": 5}, "canceled"),
        ({"expired": 5, "succeeded": 0}, "expired"),
        ({"canceled": 2, "expired": 3}, "expired"),
        ({"canceled": 4, "errored": 1}, "failed"),
        ({"missing": 5}, "failed"),
        ({"canceled": 4, "succeeded": 1}, "notched"),
        ({"succeeded": 4}, "full"),
        ({}, "full"),
    ],
)
def test_a_segment_tells_what_became_of_a_part(answers: dict[str, int], shape: str) -> None:
    part = MessageBatch(part=3, state="stored", size=5, answers=answers)
    assert progress.shape(part) == shape
    whole, again = shape in ("canceled", "expired"), 5 - sum(answers.values())
    said = (
        f"{shape}, 5 requests" if whole else f"ended, {answers.get('succeeded', 0)} of 5 succeeded"
    )
    said += f", {again} sent once more" if again else ""
    assert progress.describe(part) == f"Part 3: {said}"


def test_room_is_kept_for_first_answers_only_while_they_may_come(cast: Cast) -> None:
    batch = make_batch(cast, "one", "two")
    run = make_run(batch)
    part = make_part(run, [2], processing_status="ended")
    answer_part(part, {2: succeeded("yes")})
    second = make_part(run, [3], processing_status="in_progress")
    count_answers(part, succeeded=1)
    client = cast.client(cast.vera)
    assert "first-answers-section" in client.get(address(batch)).content.decode()
    answer_part(second, {3: succeeded("no")})
    count_answers(second, succeeded=1)
    page = client.get(address(batch)).content.decode()
    assert 'id="first-answers"' in page
    assert "first-answers-section" not in page


def test_the_name_of_the_file_leads_to_it(cast: Cast) -> None:
    batch = an_ended_batch(cast)
    client = cast.client(cast.vera)
    page = client.get(address(batch)).content.decode()
    assert f'· <a href="{address(batch, "file/")}">{batch.upload.filename}</a>' in page
    assert client.get(address(batch, "file/")).status_code == 200


def test_very_many_parts_come_by_the_page(cast: Cast) -> None:
    batch = make_batch(cast)
    run = make_run(batch)
    MessageBatch.objects.bulk_create(
        MessageBatch(
            workspace=cast.workspace, batch=batch, run=run, part=number, state="queued", size=1
        )
        for number in range(1, PARTS_PER_PAGE + 11)
    )
    batch.recount()
    client = cast.client(cast.vera)
    page = client.get(address(batch)).content.decode()
    assert "segments" not in page
    assert '<progress value="0" max="60"' in page
    assert f"?part={PARTS_PER_PAGE + 1}#parts" in page
    last = client.get(address(batch), {"part": PARTS_PER_PAGE + 1}).content.decode()
    assert last.count("<summary>") == 10


def test_of_a_part_that_was_sent_again_the_newest_attempt_comes_first(cast: Cast) -> None:
    batch = make_batch(cast, "one")
    old = make_part(make_run(batch), [2], state="lost")
    new = make_part(make_run(batch), [2], state="queued", replaces=old)
    MessageBatch.objects.filter(pk=new.pk).update(part=old.part)
    batch.recount()
    page = cast.client(cast.vera).get(address(batch)).content.decode()
    assert page.index(f'id="part-{new.pk}"') < page.index(f'id="part-{old.pk}"')
    assert page.count('class="replaced"') == 1


def test_a_draft_is_opened_at_its_step(cast: Cast) -> None:
    batch = make_batch(cast, "one")
    client = cast.client(cast.vera)
    assert client.get(address(batch)).headers["Location"] == address(batch, "review/")
    Batch.objects.update(recipe={})
    assert client.get(address(batch)).headers["Location"] == address(batch, "recipe/")


def test_a_refused_key_is_mended_in_settings(cast: Cast) -> None:
    batch = make_batch(cast, "one")
    key = save_key(cast.workspace, "claude", "sk-ant-acme-secret")
    ApiKey.objects.filter(pk=key.pk).update(refused="The API answers 401.", refused_type="key")
    make_part(make_run(batch), [2], state="queued", api="claude", account=key.account())
    batch.recount()
    page = cast.client(cast.vera).get(address(batch)).content.decode()
    said = "The API answers 401. Nothing is lost. Check the key again, or replace it, in <a"
    assert said in page
    assert 'href="/w/acme/settings/key/">Settings</a>.' in page
    assert "manage.py" not in page


def test_a_run_that_was_refused_says_why(cast: Cast) -> None:
    batch = make_batch(cast, "one", left_out=1)
    make_run(batch, state="refused", reason="No row can be sent: 1 row left out.")
    batch.recount()
    text = text_of(cast.client(cast.bob), address(batch))
    assert "Nothing was sent. No row can be sent: 1 row left out. See the problems" in text


def test_work_that_nobody_picks_up_is_said(cast: Cast) -> None:
    batch = make_batch(cast, "one")
    run = make_run(batch)
    part = make_part(run, [2], state="queued")
    batch.recount()
    MessageBatch.objects.filter(pk=part.pk).update(due_at=run.requested_at - MINUTE)
    client = cast.client(cast.vera)
    assert "Nothing has picked this up for 1 min" in text_of(client, address(batch))
    Worker.objects.create(host="here", pid=1, seen_at=run.requested_at)
    assert "picked this up" not in text_of(client, address(batch))
    Worker.objects.update(seen_at=run.requested_at - MINUTE)
    assert "manage.py poll_batches" in text_of(client, address(batch))


def test_a_part_whose_outcome_is_unknown_asks_the_members(cast: Cast) -> None:
    batch = make_batch(cast, "one", "two")
    run = make_run(batch)
    part = make_part(run, [2, 3], state="unknown", settled_at=run.requested_at, reason="It broke.")
    batch.recount()
    page = cast.client(cast.bob).get(address(batch)).content.decode()
    place = f'href="{address(batch, f"parts/{part.pk}/decide/")}"'
    assert page.count(place) == 2, "in the head and at its place"
    assert page.count('class="button primary"') == 1
    text = text_of(cast.client(cast.vera), address(batch))
    assert "It broke. It was looked for 0 times." in text
    assert "A member decides." in text
    assert "Decide" not in text


def test_a_part_that_is_still_looked_for_is_said(cast: Cast) -> None:
    batch = make_batch(cast, "one", "two")
    reason = "We do not know whether it was created: it broke."
    make_part(make_run(batch), [2, 3], state="unknown", listings=3, reason=reason)
    batch.recount()
    text = text_of(cast.client(cast.bob), address(batch))
    assert f"Part 1: {reason} Nothing is sent again by itself." in text
    assert "We are looking for it at the API (checked 3 times" in text
    assert "Decide now" in text
    assert "Decide now" not in text_of(cast.client(cast.vera), address(batch))


def test_what_was_set_aside_is_said_and_started_again(cast: Cast) -> None:
    batch = make_batch(cast, "one", "two")
    run = make_run(batch)
    part = make_part(run, [2, 3], state="queued", crashes=CRASH_LIMIT)
    batch.recount()
    assert batch.state == "needs_you"
    said = f"Part 1 of batch {batch.pk} stopped 3 workers and is set aside."
    viewers = text_of(cast.client(cast.vera), address(batch))
    assert said in viewers
    assert "A member can start it again." in viewers
    client = cast.client(cast.bob)
    assert f"{said} Look into the worker's log before you go on. Start again" in text_of(
        client, address(batch)
    )
    assert client.post(address(batch, "start-again/")).headers["Location"] == address(batch)
    part.refresh_from_db()
    batch.refresh_from_db()
    assert (part.crashes, batch.state) == (0, "queued")
    assert batch_events(batch, "again") == [
        (cast.bob.pk, f"Part 1 of batch {batch.pk} was started again.")
    ]
    assert cast.client(cast.vera).post(address(batch, "start-again/")).status_code == 403


def test_several_parts_that_were_set_aside_are_one_question(cast: Cast) -> None:
    batch = make_batch(cast, "one", "two")
    run = make_run(batch)
    for row in (2, 3):
        make_part(run, [row], state="submitted", crashes=CRASH_LIMIT)
    batch.recount()
    page = cast.client(cast.bob).get(address(batch)).content.decode()
    assert page.count('id="start-again"') == 1
    # The primary of the head, and the one beside the question.
    assert page.count(f'href="{address(batch, "start-again/")}"') == 2
    assert "A decision is needed" not in page
    assert page.count("pill-amber") == 3
    assert "A member can start them again." in text_of(cast.client(cast.vera), address(batch))
    home = text_of(cast.client(cast.bob), "/w/acme/")
    assert f", part 1 of batch {batch.pk} stopped 3 workers and is set aside." in home


def test_a_run_that_was_set_aside_needs_somebody_at_once(cast: Cast) -> None:
    batch = make_batch(cast, "one")
    at = database_now()
    make_run(batch, state="queued", due_at=at, crashes=2, lease_until=at)
    assert Run.objects.claim("worker", at) is None
    batch.refresh_from_db()
    assert batch.state == "needs_you"
    assert "Run " in text_of(cast.client(cast.bob), address(batch))
    assert "and is set aside" in text_of(cast.client(cast.bob), "/w/acme/")
    cast.client(cast.bob).post(address(batch, "start-again/"))
    assert Run.objects.claim("worker", database_now()) is not None


def batch_events(batch: Batch, verb: str) -> list[tuple[int, str]]:
    events = Event.objects.filter(subject=f"batch:{batch.pk}", verb=verb)
    return list(events.values_list("actor", "sentence"))


def test_a_pause_that_the_api_asked_for_is_said(cast: Cast) -> None:
    key = save_key(cast.workspace, "claude", "sk-ant-acme-secret")
    batch = make_batch(cast, "one")
    make_part(make_run(batch), [2], state="queued", api="claude")
    batch.recount()
    client = cast.client(cast.vera)
    assert "asks for a pause" not in text_of(client, address(batch))
    ApiKey.objects.filter(pk=key.pk).update(paused_until=database_now() + MINUTE)
    assert "The API asks for a pause. Going on by itself at" in text_of(client, address(batch))


def test_what_was_canceled_before_anything_was_sent_is_no_failure(cast: Cast) -> None:
    unbuilt, unsent, refused = (make_batch(cast, "one") for _ in range(3))
    make_run(unbuilt, state="queued")
    make_part(make_run(unsent), [2], state="queued")
    make_run(refused, state="refused", reason="No row is left to send.")
    for batch in (unbuilt, unsent):
        request_cancel(batch, database_now())
    refused.recount()
    for batch in (unbuilt, unsent):
        page = cast.client(cast.vera).get(address(batch)).content.decode()
        assert '<span id="head-pill"><span class="pill pill-gray">' in page
        assert "<title>Canceled · Review themes · Sluice</title>" in page
        assert 'class="notice bad"' not in page
    page = cast.client(cast.vera).get(address(refused)).content.decode()
    assert '<span id="head-pill"><span class="pill pill-red">' in page
    assert 'class="notice bad"' in page


def test_what_parts_wait_for_is_said(cast: Cast) -> None:
    save_key(cast.workspace, "claude", "sk-ant-acme-secret")
    batch = make_batch(cast, "one", "two")
    run = make_run(batch)
    refused = "Nothing was sent to api.anthropic.com: Connection refused."
    for row in (2, 3):
        make_part(run, [row], state="queued", api="claude", reason=refused)
    batch.recount()
    text = text_of(cast.client(cast.vera), address(batch))
    assert f"2 parts wait. {refused} It is tried again by itself." in text


def test_time_that_runs_out_is_said(cast: Cast) -> None:
    batch = make_batch(cast, "one")
    run = make_run(batch)
    soon = run.requested_at + 90 * MINUTE
    make_part(run, [2], processing_status="in_progress", expires_at=soon)
    batch.recount()
    text = text_of(cast.client(cast.vera), address(batch))
    assert "1 h 29 min left. What has not been answered by" in text


def test_the_rest_of_a_sample_can_be_sent(cast: Cast) -> None:
    batch = an_ended_batch(cast)
    Batch.objects.update(rows=1203)
    assert "Send the remaining 1,200" in text_of(cast.client(cast.bob), address(batch))
    assert "Send the remaining" not in text_of(cast.client(cast.vera), address(batch))


def test_viewers_see_no_controls(cast: Cast) -> None:
    batch = an_ended_batch(cast)
    text = text_of(cast.client(cast.vera), address(batch))
    assert "Download results" in text
    for control in ("Cancel", "Rename", "Delete", "Duplicate"):
        assert control not in text
        assert control in text_of(cast.client(cast.bob), address(batch)) or control == "Cancel"


def test_a_cell_that_turns_the_direction_leaves_the_line_as_it_is(cast: Cast) -> None:
    batch = make_batch(cast, "a\u202ebc<i>")
    part = make_part(make_run(batch), [2], processing_status="ended")
    answer_part(part, {2: succeeded("yes")})
    count_answers(part, succeeded=1)
    body = cast.client(cast.vera).get(address(batch)).content.decode()
    assert "<bdi>a\u202ebc&lt;i&gt;</bdi></td>" in body


def test_the_title_counts_parts_where_there_are_several(cast: Cast) -> None:
    batch = make_batch(cast, "one", "two")
    run = make_run(batch)
    make_part(run, [2], processing_status="in_progress")
    batch.recount()
    client = cast.client(cast.vera)
    body = client.get(address(batch)).content.decode()
    assert "<title>In progress · Review themes · Sluice</title>" in body
    make_part(run, [3], processing_status="in_progress")
    batch.recount()
    body = client.get(address(batch)).content.decode()
    assert "<title>0 of 2 parts · Review themes · Sluice</title>" in body


def test_the_live_part_is_silent_until_something_changes(cast: Cast) -> None:
    batch = make_batch(cast, "one")
    part = make_part(make_run(batch), [2], processing_status="in_progress")
    batch.recount()
    client = cast.client(cast.vera)
    page = client.get(address(batch)).content.decode()
    live = unescape(page.split('id="progress" hx-get="')[1].split('"')[0])
    assert client.get(live).status_code == 204

    answer_part(part, {2: succeeded("yes")})
    count_answers(part, succeeded=1)
    response = client.get(live)
    body = response.content.decode()
    assert "every 3s" not in body
    assert "<title>Done · Review themes · Sluice</title>" in body
    assert '<span id="head-pill" hx-swap-oob="true">' in body
    assert 'id="head-primary" hx-swap-oob="true"' in body
    assert "Review themes has ended: 1 of 1 succeeded." in response.headers["HX-Trigger"]


def test_fifty_parts_cost_as_many_queries_as_one(cast: Cast) -> None:
    batch = make_batch(cast)
    run = make_run(batch)
    client = cast.client(cast.vera)

    def queries(parts: int) -> int:
        MessageBatch.objects.bulk_create(
            MessageBatch(
                workspace=cast.workspace,
                batch=batch,
                run=run,
                part=batch.message_batches.count() + number,
                state="submitted",
                size=1,
            )
            for number in range(1, parts + 1)
        )
        batch.recount()
        client.get(address(batch))
        with CaptureQueriesContext(connection) as found:
            client.get(address(batch))
        return len(found)

    assert queries(2) >= queries(48)


def test_strangers_find_nothing(cast: Cast) -> None:
    batch = an_ended_batch(cast)
    assert cast.client(cast.charlie).get(address(batch)).status_code == 404
    assert cast.client(cast.charlie).get(address(batch, "live/")).status_code == 404


def test_the_page_follows_a_batch_to_its_end(
    page: Page, site: Site, sandbox: Sandbox, scope: str, settings: Settings, tmp_path: Path
) -> None:
    settings.SANDBOX_URL = sandbox.url
    cast = gather()
    save_key(cast.workspace, "sandbox", scope)
    batch = send_reviews(cast, tmp_path / "reviews.csv")
    sign_in(page, cast.alice)
    page.wait_for_url("**/w/acme/")
    page.goto(address(batch))
    page.evaluate("window.opened = true")
    part = page.locator("details[id^=part-]").first
    part.locator("summary").click()
    expect(page).to_have_title("Queued · Review themes · Sluice")
    page.evaluate(
        """window.flashed = [];
        document.addEventListener("animationstart", ({ animationName, target }) => {
          if (animationName === "changed") window.flashed.push(target.className);
        })"""
    )
    work_until_it_ends(batch)

    toast = page.locator("#toast")
    expect(toast).to_have_text("Review themes has ended: 12 of 12 succeeded.")
    expect(page).to_have_title("Done · Review themes · Sluice")
    expect(page.locator("#head-pill")).to_have_text("Ended")
    expect(page.get_by_role("link", name="Download results")).to_be_visible()
    expect(page.locator("#tab-results")).to_have_text("12")
    flashed = set(page.evaluate("window.flashed"))
    assert {"state changed", "changed", "id changed"} <= flashed, "cells, figures, ids"
    assert "part changed" not in flashed, "it says what it said before"
    # It was never loaded anew, and what was opened is open.
    assert page.evaluate("window.opened")
    expect(part).to_have_attribute("open", "")
    expect(page.get_by_text("unexpected 0").first).to_be_visible()
    assert page.locator("#progress").get_attribute("hx-trigger") is None


def send_reviews(cast: Cast, file: Path) -> Batch:
    file.write_text("review\n" + "".join(f"number {number}\n" for number in range(12)))
    upload = starting.receive(file, cast.workspace, database_now())
    turn()
    upload.refresh_from_db()
    recipe = Recipe(model="claude-haiku-4-5", prompt="Theme: {{review}}", max_tokens=50)
    batch = starting.draft(upload, "Review themes", recipe)
    starting.start(batch, Selection(part_size=4), database_now(), actor=cast.alice)
    while not batch.parts:
        building.step(database_now(), batch)
        batch.refresh_from_db()
    return batch


def work_until_it_ends(batch: Batch) -> None:
    def ended() -> bool:
        turn()
        batch.refresh_from_db()
        return batch.final

    wait_until(ended)
