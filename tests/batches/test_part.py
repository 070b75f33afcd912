import json

import pytest
from playwright.sync_api import Page, expect

from batches import archive, collecting
from batches.models import Batch, MessageBatch
from batches.proof import Proof
from batches.waiting import stop_waiting
from tests.batches.build import make_workspace
from tests.batches.ended import RESULTS, body, collect, make_ended, unbounded
from tests.batches.html import link_named, text_of
from tests.batches.stage import HOUR, make_batch, make_part, now, remote, result_line, result_lines
from tests.batches.test_results_in_browser import sign_in
from tests.cast import Cast
from tests.scripted_api import ScriptedApi, refusal
from workspaces.models import ApiKey, Event

pytestmark = pytest.mark.django_db(transaction=True)
HTMX = {"headers": {"HX-Request": "true"}}


@pytest.fixture
def api(cast, settings):
    with ScriptedApi() as api:
        settings.SANDBOX_URL = api.url
        ApiKey.seal(cast.workspace, "sandbox", "sk-ant-scripted-key", models_read_at=now())
        yield api


@pytest.fixture
def part(cast) -> MessageBatch:
    return make_ended(make_batch(cast.workspace, ["x"] * 5))


def address(part: MessageBatch, action: str = "") -> str:
    return f"/w/acme/batches/{part.batch_id}/parts/{part.pk}/{action}"


def read(cast: Cast, part: MessageBatch, action: str = "") -> str:
    return text_of(cast.client(cast.bob).get(address(part, action)))


def test_it_works(cast, api, part):
    collect(part, body(result_lines(part)), api=api)
    created = {"nonce": part.nonce, "request_id": "req_011", "message_batch": remote("msgbatch_1")}
    with archive.writing(archive.created(part.pk)) as file:
        file.write(json.dumps(created).encode())
    text = read(cast, part)
    assert "Part 1 Collect again now Stored 5 requests" in text
    assert "Proof Sent 5 Answered 5 Missing 0 Unexpected 0 succeeded 5." in text
    assert "succeeded 5. 5 lines in the download." in text
    assert "Sent 5, answered 5, missing 0, unexpected 0." in text
    for shown in ("msgbatch_1", part.nonce, part.proof["sha256"], "request_counts", "req_011"):
        assert shown in text
    assert str(archive.results(part.pk, 1).parent) not in text


def test_a_part_without_proof_yet(cast, part):
    text = read(cast, part)
    assert "Proof" not in text
    assert "Collecting" in text


def test_what_is_missing_is_listed_with_links(cast, api, part):
    collect(part, unbounded([*result_lines(part)[:3], result_line("theirs"), b"{}\n"]), api=api)
    response = cast.client(cast.bob).get(address(part))
    text = text_of(response)
    assert "Missing 2 Unexpected 1 Unreadable lines 1" in text
    assert "Ids that are not ours theirs" in text
    assert "Cannot be read line 5" in text
    for row in (2, 3):
        link = f'href="/w/acme/batches/{part.batch_id}/results/{row}/"'
        assert link in response.content.decode()


def test_rows_with_two_answers_are_listed(cast, api, part):
    other = result_line(part.custom_id(4), text="no")
    collect(part, body([*result_lines(part), other]), api=api)
    assert "Two different answers 1" in read(cast, part)


def test_strange_ids_are_text(cast, api, part):
    collect(part, body([result_line("<script>alert(1)</script>")]), api=api)
    page = cast.client(cast.bob).get(address(part)).content.decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page


def test_attempts_lead_to_each_other(cast, part):
    newer = make_part(part.batch, state="queued", replaces=part, rows=range(2, 7))
    client = cast.client(cast.bob)
    assert f'href="{address(newer)}"' in client.get(address(part)).content.decode()
    assert f'href="{address(part)}"' in client.get(address(newer)).content.decode()


def test_the_table_of_parts_leads_here(cast, part):
    overview = cast.client(cast.bob).get(f"/w/acme/batches/{part.batch_id}/").content.decode()
    assert f'href="{address(part)}"' in overview


def test_the_overview_says_what_is_incomplete_and_when_it_is_asked_for_again(cast, api, part):
    collect(part, unbounded(result_lines(part)[:3]), api=api)
    overview = cast.client(cast.bob).get(f"/w/acme/batches/{part.batch_id}/")
    said = "Part 1 is incomplete: 2 of 5 answers are missing. We ask again at "
    assert f"{said}{part.due_at:%H:%M} . All of part 1" in text_of(overview)
    assert "waits" not in text_of(overview)


def test_a_missing_row_leads_to_its_part(cast, api, part):
    collect(part, unbounded(result_lines(part)[:3]), api=api)
    row = cast.client(cast.bob).get(f"/w/acme/batches/{part.batch_id}/results/2/")
    assert "Not among the results that the API sent. We ask again." in text_of(row)
    assert link_named(row.content.decode(), "Part 1") == address(part)


def test_the_overview_tells_of_results_that_vanish_soon(cast, part):
    MessageBatch.objects.update(created_at=now() - 25.5 * 24 * HOUR)
    overview = cast.client(cast.bob).get(f"/w/acme/batches/{part.batch_id}/")
    said = "Part 1: results are deleted at the API in 3 days and are not stored. Collect now"
    assert said in text_of(overview)
    assert link_named(overview.content.decode(), "Collect now") == address(part)
    MessageBatch.objects.update(state="stored", stored_at=now())
    overview = cast.client(cast.bob).get(f"/w/acme/batches/{part.batch_id}/")
    assert "are deleted at the API" not in text_of(overview)


def test_the_facts_are_fresh_while_something_may_come(cast, api, part):
    client = cast.client(cast.bob)
    assert "hx-trigger" in client.get(address(part, "live/")).content.decode()
    collect(part, body(result_lines(part)), api=api)
    assert "hx-trigger" not in client.get(address(part, "live/")).content.decode()


def test_collect_again_makes_it_due_at_once(cast, api, part):
    collect(part, unbounded(result_lines(part)[:3]), api=api)
    assert part.due_at > now()
    response = cast.client(cast.bob).post(address(part, "collect/"))
    assert response.headers["Location"] == address(part)
    event = Event.objects.get(verb="collect_again")
    assert (event.actor, event.sentence) == (cast.bob, "Part 1 is to be collected again now.")
    assert collect(part, body(result_lines(part)), api=api).state == "stored"


def test_a_stored_part_whose_file_is_gone_is_collected_again(cast, api, part):
    collect(part, body(result_lines(part)), api=api)
    stored_at = part.stored_at
    archive.results(part.pk, part.results_fence).unlink()
    cast.client(cast.bob).post(address(part, "collect/"))
    part.refresh_from_db()
    assert (part.state, part.proven_at) == ("stored", None)
    collect(part, unbounded(result_lines(part)[:3]), api=api)
    assert part.reason.startswith("Collected again, but 2 of 5 answers are missing.")
    assert Batch.objects.get().succeeded == 5
    collect(part, body(result_lines(part)), api=api, at=part.due_at)
    assert (part.state, part.reason, part.due_at) == ("stored", "", None)
    assert part.stored_at == stored_at
    assert archive.results(part.pk, part.results_fence).exists()
    assert Event.objects.latest("pk").sentence.startswith("Part 1 was collected again. All 5")


def test_a_stored_part_that_the_api_no_longer_has_stays_as_it_is(cast, api, part):
    collect(part, body(result_lines(part)), api=api)
    MessageBatch.objects.update(created_at=now() - 29 * 24 * HOUR)
    cast.client(cast.bob).post(address(part, "collect/"))
    collect(part, refusal(404, "not_found_error", "no results"), api=api)
    assert (part.state, part.due_at, Batch.objects.get().succeeded) == ("stored", None, 5)
    assert "Restore the results file from a backup." in read(cast, part)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"state": "queued"}, "Part 1 has no results to collect."),
        ({"processing_status": "in_progress"}, "Part 1 has no results to collect."),
        ({"created_at": now() - 31 * 24 * HOUR}, "The API keeps results for 29 days"),
        ({"deleted_at": now()}, "The results were deleted at the API."),
        ({"crashes": 3}, "Part 1 is set aside. Start it again first."),
        ({"lease_until": now() + HOUR}, "It is being collected now."),
    ],
)
def test_what_cannot_be_collected_says_why(cast, part, fields, why):
    MessageBatch.objects.update(**fields)
    response = cast.client(cast.bob).post(address(part, "collect/"))
    assert response.status_code == 422
    assert why in text_of(response)
    assert not Event.objects.exists()


def test_stop_waiting_takes_the_number_of_what_is_missing(cast, api, part):
    collect(part, unbounded(result_lines(part)[:3]), api=api)
    text = read(cast, part, "stop/")
    assert "Stop waiting for 2 answers of part 1?" in text
    assert "These rows count as missing for good; they may have been billed." in text
    client = cast.client(cast.bob)
    refused = client.post(address(part, "stop/"), {"confirm": "5"})
    assert refused.status_code == 422
    assert "Type 2 to stop waiting." in text_of(refused)
    response = client.post(address(part, "stop/"), {"confirm": "2"})
    assert response.headers["Location"] == address(part)
    assert Event.objects.get(verb="stop_waiting").actor == cast.bob
    assert "We ask again" not in read(cast, part)
    assert collecting.step(now())
    part.refresh_from_db()
    batch = Batch.objects.get()
    assert (part.state, batch.succeeded, batch.missing, batch.state) == ("lost", 3, 2, "ended")
    said = "2 answers of part 1 are lost: nobody waits for them any more."
    assert Event.objects.get(verb="lost").sentence == said
    assert len(api.paths("GET")) == 1


def test_of_what_is_given_up_the_pages_show_and_count_what_came(cast, api, part):
    MessageBatch.objects.update(succeeded=5)
    collect(part, unbounded(result_lines(part)[:3]), api=api)
    stop_waiting(MessageBatch.objects.get(), now())
    assert collecting.step(now())
    overview = text_of(cast.client(cast.bob).get(f"/w/acme/batches/{part.batch_id}/"))
    assert "Lost 3 of 5 succeeded 5 3 2" in overview
    assert "The first answers beside their input" in overview
    problems = text_of(cast.client(cast.bob).get(f"/w/acme/batches/{part.batch_id}/problems/"))
    assert "No answer of it came in the API's results. It may have been billed." in problems
    assert "Nobody has them" not in read(cast, part)


def test_stop_waiting_goes_before_the_worker_that_asks_again(cast, api, part):
    collect(part, unbounded(result_lines(part)[:3]), api=api)

    def stopped_meanwhile(request):
        stop_waiting(MessageBatch.objects.get(), now())
        return unbounded(result_lines(part)[:3])

    collect(part, stopped_meanwhile, api=api, at=part.due_at)
    assert (part.state, part.owner) == ("incomplete", "")
    api.plan("GET", RESULTS)
    assert collecting.step(now())
    part.refresh_from_db()
    assert part.state == "lost"


def test_the_waiting_is_stopped_in_a_dialog_and_the_page_follows(page: Page) -> None:
    sign_in(page)
    batch = make_batch(make_workspace(), ["x"] * 5)
    part = make_part(batch, 2, "incomplete", created_at=now(), reason="2 are missing.")
    nothing = Proof(part, {2: 0, 3: 1}).summary() | {"missing_rows": [[2, "2"], [3, "3"]]}
    MessageBatch.objects.update(proof=nothing)
    page.goto(f"/w/team/batches/{batch.pk}/parts/{part.pk}/")
    page.get_by_role("link", name="Stop waiting…").click()
    dialog = page.locator("dialog[open]")
    expect(dialog.get_by_role("link", name="Keep asking")).to_be_focused()
    dialog.get_by_label("Type 2 to confirm").fill("2")
    dialog.get_by_role("button", name="Stop waiting").click()
    expect(page.get_by_role("link", name="Stop waiting…")).to_have_count(0)
    expect(page.locator("#part-facts")).to_contain_text("Incomplete")
    assert collecting.step(now())
    expect(page.locator("#part-facts")).to_contain_text("Lost")
    expect(page.locator("#part-facts")).to_contain_text("Nobody waits for the rest any more.")


def test_what_is_not_incomplete_is_not_waited_for(cast, part):
    assert "Nobody waits for answers of part 1" in read(cast, part, "stop/")
    response = cast.client(cast.bob).post(address(part, "stop/"), {"confirm": "5"})
    assert response.status_code == 422
    assert not Event.objects.exists()


def test_htmx_gets_the_dialog_alone(cast, api, part):
    collect(part, unbounded(result_lines(part)[:3]), api=api)
    page = cast.client(cast.bob).get(address(part, "stop/"), **HTMX).content.decode()
    assert "<html" not in page
    assert "Keep asking" in page


def test_viewers_read_and_strangers_do_not(cast, api, part):
    collect(part, unbounded(result_lines(part)[:3]), api=api)
    response = cast.client(cast.vera).get(address(part))
    assert "Members can collect it again." in text_of(response)
    assert "<button>Collect again now" not in response.content.decode()
    for action in ("collect/", "stop/"):
        assert cast.client(cast.vera).post(address(part, action)).status_code == 403
        assert cast.client(cast.charlie).post(address(part, action)).status_code == 404
    assert cast.client(cast.charlie).get(address(part)).status_code == 404


def test_a_part_of_another_batch_is_not_found(cast, part):
    other = make_batch(cast.workspace)
    client = cast.client(cast.bob)
    assert client.get(f"/w/acme/batches/{other.pk}/parts/{part.pk}/").status_code == 404
    building = make_part(part.batch, 2, "building")
    assert client.get(address(building)).status_code == 404
