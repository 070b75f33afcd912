import re
from html import unescape
from typing import Any

import pytest
from django.utils.html import strip_tags
from playwright.sync_api import Page, expect

from batches import deciding
from batches.models import Batch, MessageBatch, Run
from tests.batches.stage import HOUR, make_batch, make_part, now
from tests.browser import Site
from tests.cast import Cast, gather
from tests.workspaces.test_pages_in_browser import sign_in
from workspaces.models import Event

REASON = "We do not know whether it was created: the connection broke."
HTMX = {"headers": {"HX-Request": "true"}}
ESTIMATE = {"low": "0.40", "high": "0.90", "most": "9.60", "requests": 50, "output_tokens": None}


def candidate(id: str, ours: bool | None = None, status: str = "in_progress") -> dict[str, Any]:
    created = {"created_at": now().isoformat(), "processing_status": status}
    return {"id": id, "ours": ours, "size": 5, "succeeded": 5 if ours else 0, **created}


def an_unknown_part(cast: Cast, **fields: Any) -> MessageBatch:
    batch = make_batch(cast.workspace, ["x"] * 12)
    run = batch.runs.create(token="built", state="built", recipe={}, estimate=ESTIMATE)
    at = now()
    known = {"reason": REASON, "sent_at": at, "unknown_at": at, "settled_at": at, "listings": 16}
    values = {"state": "unknown", "api": "claude", "due_at": at + HOUR, **known, **fields}
    return make_part(batch, 5, run=run, **values)


def a_part_that_turned_up(cast: Cast, status: str = "ended", **fields: Any) -> MessageBatch:
    found = [candidate("msgbatch_1", ours=True, status=status)]
    return an_unknown_part(cast, state="dropped", candidates=found, due_at=None, **fields)


def address(part: MessageBatch, page: str = "decide/") -> str:
    return f"/w/acme/batches/{part.batch_id}/parts/{part.pk}/{page}"


def text_of(response: Any) -> str:
    return " ".join(unescape(strip_tags(response.content.decode())).split())


def decide(cast: Cast, part: MessageBatch, answer: str, name: str = "bob", **fields: str) -> Any:
    client = cast.client(getattr(cast, name))
    response = client.post(address(part), {"answer": answer, **fields})
    part.refresh_from_db()
    return response


def test_it_says_what_is_known_and_what_each_way_costs(cast: Cast) -> None:
    part = an_unknown_part(
        cast, candidates=[candidate("msgbatch_1"), candidate("msgbatch_2", False)]
    )
    text = text_of(cast.client(cast.bob).get(address(part)))
    assert f"Was part 1 created? {REASON} Nothing is sent again by itself." in text
    assert "5, rows 2 to 6" in text
    assert "16 times, next" in text
    assert "msgbatch_1 5 requests" in text
    assert "in_progress: nothing tells yet whose it is" in text
    assert "in_progress: not ours" in text
    assert "Nothing is sent, and its answers are billed once." in text
    assert "If the first one exists, both are billed: up to $0.96 each. Type 5 to confirm" in text
    assert "Its 5 rows count as not sent and can be chosen later." in text


def test_htmx_gets_the_dialog_alone(cast: Cast) -> None:
    page = cast.client(cast.bob).get(address(an_unknown_part(cast)), **HTMX).content.decode()
    assert "<html" not in page
    assert "Drop part 1" in page


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"run": None}, "both are billed; what one costs is not known here."),
        ({"api": "sandbox"}, "The sandbox bills nothing; with a real key both would be billed"),
    ],
)
def test_costs_that_are_not_known_or_not_billed(
    cast: Cast, fields: dict[str, Any], said: str
) -> None:
    part = an_unknown_part(cast)
    MessageBatch.objects.update(**fields)
    assert said in text_of(cast.client(cast.bob).get(address(part)))


def test_what_is_adopted_is_left_to_a_worker_to_ask(cast: Cast) -> None:
    part = an_unknown_part(cast)
    response = decide(cast, part, "adopt", other=" msgbatch_9 ")
    assert response.headers["Location"] == f"/w/acme/batches/{part.batch_id}/"
    assert (part.state, part.adopt_id, part.adopt_asked_by) == ("unknown", "msgbatch_9", cast.bob)
    assert MessageBatch.objects.claim("worker", now()) == part
    assert Event.objects.get(verb="adopt").actor == cast.bob
    page = cast.client(cast.bob).get(f"/w/acme/batches/{part.batch_id}/")
    assert "The API is asked whether msgbatch_9 is it." in text_of(page)


def test_a_candidate_is_chosen(cast: Cast) -> None:
    part = an_unknown_part(cast, candidates=[candidate("msgbatch_1")])
    decide(cast, part, "adopt", candidate="msgbatch_1", other="")
    assert part.adopt_id == "msgbatch_1"


def test_why_something_was_not_adopted_is_said(cast: Cast) -> None:
    part = an_unknown_part(cast)
    decide(cast, part, "adopt", other="msgbatch_9")
    MessageBatch.objects.update(adopt_id="")
    refused = "msgbatch_9 was not taken for part 1: it holds 6 requests."
    part.batch.record("not_adopted", refused, part=part.part)
    assert refused in text_of(cast.client(cast.vera).get(address(part)))
    assert refused in text_of(cast.client(cast.vera).get(f"/w/acme/batches/{part.batch_id}/"))
    decide(cast, part, "adopt", other="msgbatch_8")
    assert refused not in text_of(cast.client(cast.vera).get(address(part)))


@pytest.mark.parametrize("typed", ["", "garbage", "../../v1/models", "msgbatch_" + "x" * 100, "é"])
def test_what_cannot_be_an_id_is_said_at_its_field(cast: Cast, typed: str) -> None:
    part = an_unknown_part(cast)
    response = decide(cast, part, "adopt", other=typed)
    assert response.status_code == 422
    assert "Type the id of a batch at the API" in text_of(response)
    assert 'aria-describedby="adopt-says other-error"' in response.content.decode()
    assert (part.adopt_id, part.due_at > now()) == ("", True)


def test_sending_again_is_confirmed_with_the_number_of_requests(cast: Cast) -> None:
    part = an_unknown_part(cast)
    response = decide(cast, part, "send_again", confirm="4")
    assert response.status_code == 422
    assert "Type 5 to send it again." in text_of(response)
    assert 'value="4"' in response.content.decode()
    assert part.state == "unknown"
    assert decide(cast, part, "send_again", confirm="5").status_code == 302
    run = Run.objects.get(state="queued")
    assert (part.state, run.requested_by) == ("dropped", cast.bob)
    assert (run.estimate["most"], run.estimate["requests"]) == ("0.960", 5)
    assert part.due_at is not None, "the first one may still turn up"
    assert not Event.objects.filter(verb="batch_ended").exists(), "it goes on"


def test_dropping_sends_nothing(cast: Cast) -> None:
    part = an_unknown_part(cast)
    decide(cast, part, "drop")
    problems = text_of(cast.client(cast.bob).get(f"/w/acme/batches/{part.batch_id}/problems/"))
    assert "Billed only if it was created after all. Part 1: Dropped" in problems
    batch = Batch.objects.get()
    assert (part.state, batch.state, batch.not_sent) == ("dropped", "ended", 5)
    assert part.due_at - now() < HOUR
    assert Event.objects.get(verb="dropped").actor == cast.bob


def test_of_two_who_decide_the_second_is_told(cast: Cast) -> None:
    part = an_unknown_part(cast)
    decide(cast, part, "drop", "alice")
    for answer, field in (("drop", {}), ("send_again", {"confirm": "5"})):
        response = decide(cast, part, answer, **field)
        if answer == "drop":
            assert response.status_code == 422
            assert "Part 1 is dropped, not unknown." in text_of(response)
            assert deciding.DROPPED in text_of(response)
    assert Run.objects.filter(state="queued").count() == 1, "its rows may still be sent"


def form_of(cast: Cast, part: MessageBatch) -> dict[str, str]:
    page = cast.client(cast.bob).get(address(part)).content.decode()
    seen = re.search(r'name="seen" value="([^"]*)"', page)
    assert seen is not None
    return {"seen": unescape(seen[1])}


def test_what_fits_is_not_taken_from_a_page_that_was_answered_elsewhere(cast: Cast) -> None:
    part = an_unknown_part(cast)
    seen = form_of(cast, part)
    decide(cast, part, "drop", "alice", **seen)
    response = decide(cast, part, "send_again", confirm="5", **seen)
    assert response.status_code == 422
    assert "It was answered meanwhile. This is how it stands now." in text_of(response)
    assert not Run.objects.filter(state="queued").exists()

    late = a_part_that_turned_up(cast)
    seen = form_of(cast, late)
    decide(cast, late, "keep", "alice", **seen)
    assert decide(cast, late, "leave", **seen).status_code == 422
    assert late.adopt_id == "msgbatch_1", "the first was heard"
    assert decide(cast, late, "leave", **form_of(cast, late)).status_code == 302


def test_why_it_is_not_sent_again_is_said_also_where_the_form_is_gone(cast: Cast) -> None:
    part = an_unknown_part(cast)
    decide(cast, part, "send_again", confirm="5")
    response = decide(cast, part, "send_again", confirm="5")
    assert "Part 1 was sent again already." in text_of(response)


def test_one_who_reads_an_old_page_decides_nothing(cast: Cast) -> None:
    part = an_unknown_part(cast)
    stale = MessageBatch.objects.get()
    decide(cast, part, "drop", "alice")
    with pytest.raises(deciding.CannotResolve, match="Somebody else has decided"):
        deciding.send_again(stale, now(), cast.bob)
    assert not Run.objects.filter(state="queued").exists()


@pytest.mark.parametrize("state", ["queued", "sending", "submitted", "stored", "rejected"])
@pytest.mark.parametrize("answer", ["adopt", "drop", "keep", "cancel", "leave", "", "x"])
def test_what_needs_no_decision_takes_none(cast: Cast, state: str, answer: str) -> None:
    part = an_unknown_part(cast, state=state)
    page = text_of(cast.client(cast.bob).get(address(part)))
    assert "Part 1 needs no decision" in page
    assert decide(cast, part, answer, other="msgbatch_9").status_code == 422
    assert (part.state, part.adopt_id) == (state, "")


def test_what_turned_up_is_kept(cast: Cast) -> None:
    part = a_part_that_turned_up(cast)
    text = text_of(cast.client(cast.bob).get(address(part)))
    assert "Part 1 turned up after all" in text
    assert "Its 5 answers are billed." in text
    assert "Cancel it at the API" not in text
    overview = text_of(cast.client(cast.bob).get(f"/w/acme/batches/{part.batch_id}/"))
    assert (
        "A batch of part 1 turned up after all: msgbatch_1, its 5 answers are billed." in overview
    )
    decide(cast, part, "keep")
    assert (part.adopt_id, part.cancel_requested_at) == ("msgbatch_1", None)


def test_what_turned_up_and_still_runs_is_canceled(cast: Cast) -> None:
    part = a_part_that_turned_up(cast, "in_progress")
    assert "Cancel it at the API" in text_of(cast.client(cast.bob).get(address(part)))
    decide(cast, part, "cancel")
    assert part.adopt_id == "msgbatch_1"
    assert part.cancel_requested_at is not None


def test_what_turned_up_is_left(cast: Cast) -> None:
    part = a_part_that_turned_up(cast)
    part.batch.refresh_from_db()
    assert part.batch.state == "needs_you"
    decide(cast, part, "leave")
    assert (part.turned_up, part.reason) == (None, deciding.LEFT)
    assert Batch.objects.get().state == "ended"
    problems = text_of(cast.client(cast.bob).get(f"/w/acme/batches/{part.batch_id}/problems/"))
    assert f"Part 1: {deciding.LEFT}" in problems
    assert "Not billed" not in problems


def test_what_turned_up_after_its_rows_were_sent_again_is_the_older_attempt(cast: Cast) -> None:
    part = a_part_that_turned_up(cast)
    make_part(part.batch, 5, "stored", replaces=part, rows=range(2, 7))
    assert "what you keep here counts as the older attempt, and both are billed" in text_of(
        cast.client(cast.bob).get(address(part))
    )


def test_home_leads_to_the_decision(cast: Cast) -> None:
    part = an_unknown_part(cast)
    late = a_part_that_turned_up(cast)
    home = cast.client(cast.bob).get("/w/acme/").content.decode()
    assert home.count(f'href="{address(part)}"') == 1
    assert home.count(f'href="{address(late)}"') == 1
    assert "part 1: a batch of it turned up after all." in home
    assert address(part) not in cast.client(cast.vera).get("/w/acme/").content.decode()


def test_viewers_read_and_strangers_find_nothing(cast: Cast) -> None:
    part = an_unknown_part(cast)
    text = text_of(cast.client(cast.vera).get(address(part)))
    assert REASON in text
    assert "A member decides." in text
    assert "Drop part 1" not in text
    assert decide(cast, part, "drop", "vera").status_code == 403
    assert decide(cast, part, "drop", "charlie").status_code == 404
    assert part.state == "unknown"


def test_a_part_of_another_batch_is_not_found(cast: Cast) -> None:
    part, other = an_unknown_part(cast), make_batch(cast.workspace, ["x"])
    page = f"/w/acme/batches/{other.pk}/parts/{part.pk}/decide/"
    assert cast.client(cast.bob).get(page).status_code == 404


def test_starting_again_asks_first(cast: Cast) -> None:
    part = an_unknown_part(cast, crashes=3)
    page = f"/w/acme/batches/{part.batch_id}/start-again/"
    text = text_of(cast.client(cast.bob).get(page))
    assert (
        f"Start #{part.batch_id} again? Part 1 of batch {part.batch_id} stopped 3 workers" in text
    )
    assert cast.client(cast.bob).post(page).status_code == 302
    assert "is set aside" in text_of(cast.client(cast.bob).get(page))
    assert MessageBatch.objects.get().crashes == 0


@pytest.mark.django_db(transaction=True)
def test_in_a_browser_a_part_is_dropped_from_its_batch(page: Page, site: Site) -> None:
    """The dialog opens from a region that swaps itself, and is still there for the next one."""
    cast = gather()
    part = an_unknown_part(cast)
    part.batch.refresh_from_db()
    sign_in(page, cast.bob)
    page.wait_for_url("**/w/acme/")
    page.goto(f"/w/acme/batches/{part.batch_id}/")
    for _ in range(2):
        page.locator(f"#decide-{part.pk}").click()
        expect(page.get_by_role("heading", name="Was part 1 created?")).to_be_visible()
        page.keyboard.press("Escape")
    page.get_by_role("link", name="Decide").first.click()
    page.get_by_role("button", name="Drop part 1").click()
    expect(page.get_by_text("Part 1 is dropped: 5 rows not sent.")).to_be_visible()
    part.refresh_from_db()
    assert part.state == "dropped"
