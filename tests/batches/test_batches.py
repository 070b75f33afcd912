from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.html import strip_tags

from batches.listing import watched
from batches.models import Batch, Run, Upload
from tests.cast import Cast

LIST = "/w/acme/batches/"


def make_batch(cast: Cast, name: str = "Review themes", **fields: object) -> Batch:
    return Batch.objects.create(workspace=cast.workspace, name=name, **fields)


def make_upload(cast: Cast, filename: str = "reviews.csv") -> Upload:
    return Upload.objects.create(
        workspace=cast.workspace, filename=filename, token=filename, size=1
    )


def page_of(cast: Cast, query: str = "", name: str = "vera") -> str:
    response = cast.client(getattr(cast, name)).get(f"{LIST}{query}")
    assert response.status_code == 200
    return response.content.decode()


def text_of(cast: Cast, query: str = "", name: str = "vera") -> str:
    return " ".join(unescape(strip_tags(page_of(cast, query, name))).split())


def row_of(cast: Cast) -> list[str]:
    cells = page_of(cast).split("<tbody>")[1].split("</tr>")[0].split("</td>")[:-1]
    return [" ".join(unescape(strip_tags(cell)).split()) for cell in cells]


def names_in(cast: Cast, query: str) -> list[str]:
    page = cast.client(cast.vera).get(f"{LIST}{query}").context["page"]
    return [batch.name for batch in page.batches]


def test_it_lists_the_batches(cast: Cast) -> None:
    batch = make_batch(
        cast,
        upload=make_upload(cast),
        created_by=cast.bob,
        recipe={"model": "claude-haiku-4-5"},
        state="in_progress",
        rows=9997,
        sent=9997,
        succeeded=5978,
        errored=22,
        parts=10,
        parts_ended=6,
    )
    state, name, rows, succeeded, not_succeeded, parts, model, cost, who, when, _ = row_of(cast)
    assert state == "In progress"
    assert name.startswith(f"Review themes #{batch.pk} · reviews.csv")
    assert [rows, succeeded, not_succeeded, parts] == ["9,997", "5,978", "22", "6/10"]
    assert [model, cost, who] == ["haiku-4-5", "–", "bob"]
    assert when.endswith(" s ago")


def test_what_is_not_known_yet_is_not_zero(cast: Cast) -> None:
    make_batch(cast, state="in_progress", rows=100, sent=100, parts=1)
    assert row_of(cast)[2:6] == ["100", "–", "–", "0/1"]


@pytest.mark.parametrize(
    ("fields", "word", "colour"),
    [
        ({"state": "ended", "sent": 2, "succeeded": 2}, "Ended", "green"),
        ({"state": "ended", "sent": 2, "succeeded": 2, "rows": 9, "parts": 1}, "Ended", "gray"),
        ({"state": "ended", "sent": 2, "succeeded": 1, "errored": 1}, "Ended", "amber"),
        ({"state": "ended", "sent": 2, "succeeded": 2, "not_sent": 1}, "Ended", "amber"),
        ({"state": "ended", "sent": 2, "errored": 2}, "Ended", "red"),
        ({"state": "ended", "sent": 2, "canceled": 2}, "Canceled", "gray"),
        ({"state": "ended", "not_sent": 2}, "Ended", "red"),
        ({"state": "ended", "sent": 2, "succeeded": 2, "left_out": 1}, "Ended", "amber"),
        ({"state": "needs_you", "sent": 2}, "Needs you", "amber"),
        ({"state": "draft"}, "Draft", "gray"),
    ],
)
def test_only_a_batch_that_succeeded_whole_is_green(
    cast: Cast, fields: dict, word: str, colour: str
) -> None:
    make_batch(cast, **fields)
    assert f'class="pill pill-{colour}"' in page_of(cast)
    assert row_of(cast)[0] == word


@pytest.mark.parametrize("state", Batch.State.values)
def test_every_state_has_a_look(cast: Cast, state: str) -> None:
    make_batch(cast, state=state)
    assert row_of(cast)[0]


def test_a_row_opens_the_batch_and_a_draft_its_step(cast: Cast) -> None:
    ended = make_batch(cast, state="ended")
    draft = make_batch(cast, upload=make_upload(cast))
    page = page_of(cast)
    assert f'id="b{ended.pk}" href="{LIST}{ended.pk}/"' in page
    assert f'id="b{draft.pk}" href="{LIST}{draft.pk}/file/"' in page
    Upload.objects.update(state="ready", kind="table")
    assert f'href="{LIST}{draft.pk}/recipe/"' in page_of(cast)
    Batch.objects.update(recipe={"model": "claude-haiku-4-5", "prompt": "Hi"})
    assert f'href="{LIST}{draft.pk}/review/"' in page_of(cast)


def test_what_may_be_done_depends_on_the_role(cast: Cast) -> None:
    make_batch(cast, state="ended", recipe={"model": "claude-haiku-4-5"})
    for control in ("New batch", "Use its recipe", "Rename…", "Delete…"):
        assert control in text_of(cast, name="bob")
        assert control not in text_of(cast)
    assert "Export…" in text_of(cast)
    assert "You can read in Acme but not change it. Ask an owner: alice." in text_of(cast)


def test_cost_is_what_it_came_to_or_may_come_to(cast: Cast) -> None:
    batch = make_batch(cast, state="in_progress", sent=1, parts=1)
    estimate = {"low": "3.9", "high": "5.2", "most": "9.56"}
    Run.objects.create(batch=batch, token="t", recipe={}, state="built", estimate=estimate)
    assert row_of(cast)[7] == "≤ $9.56"
    Batch.objects.update(cost="4.44")
    assert row_of(cast)[7] == "$4.44"


@pytest.mark.both_databases
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?q=invoice", ["Invoices"]),
        ("?q=TICKETS.csv", ["Themes"]),
        ("?q=50%25", ["50% off"]),
        ("?state=ended", ["Invoices"]),
        ("?state=nonsense", ["50% off", "Themes", "Invoices"]),
        ("?who=bob", ["Themes"]),
        ("?who=-", ["50% off", "Invoices"]),
        ("?label=urgent", ["Themes"]),
        ("?label=%E4%B8%AD%E6%96%87", ["Themes"]),
        ("?label=urg", []),
        ("?q=e&state=ended&who=-", ["Invoices"]),
        ("?q=%00", []),
        ("?q=" + "9" * 40, []),
    ],
)
def test_filters_find_what_they_say(cast: Cast, query: str, found: list[str]) -> None:
    make_batch(cast, "Invoices", state="ended")
    upload = make_upload(cast, "tickets.csv")
    make_batch(cast, "Themes", upload=upload, created_by=cast.bob, labels=["urgent", "中文"])
    make_batch(cast, "50% off")
    assert names_in(cast, query) == found


def test_a_number_finds_its_batch(cast: Cast) -> None:
    batch = make_batch(cast, "Themes")
    make_batch(cast, "Others")
    assert names_in(cast, f"?q={batch.pk}") == ["Themes"]
    assert names_in(cast, f"?q=%23{batch.pk}") == ["Themes"]


def test_active_filters_are_chips_that_take_themselves_off(cast: Cast) -> None:
    make_batch(cast, state="ended", labels=["urgent"])
    page = page_of(cast, "?state=ended&label=urgent&q=Rev")
    assert '<a class="chip" href="?q=Rev&amp;label=urgent" aria-current="true"' in page
    assert '<a class="chip" href="?q=Rev&amp;state=ended" aria-current="true"' in page
    assert 'value="Rev"' in page


def test_nothing_found_says_what_was_looked_for(cast: Cast) -> None:
    make_batch(cast)
    text = text_of(cast, "?q=<b>invoice&state=ended")
    assert "No batch matches <b>invoice in state Ended. Clear filters" in text
    assert "<b>invoice</b>" not in page_of(cast, "?q=<b>invoice")


def test_an_empty_workspace_says_how_the_first_one_is_made(cast: Cast) -> None:
    assert "Upload a file Try it with 200 example reviews" in text_of(cast, name="bob")
    assert "Upload a file" not in text_of(cast)


def test_pages_of_fifty_lead_on_and_back(cast: Cast) -> None:
    ids = [make_batch(cast, f"batch {number}").pk for number in range(120)]
    client = cast.client(cast.vera)

    def shown(query: str) -> tuple[list[int], int | None, int | None]:
        page = client.get(f"{LIST}{query}").context["page"]
        return [batch.pk for batch in page.batches], page.newer, page.older

    newest_first = ids[::-1]
    first = shown("")
    assert first == (newest_first[:50], None, newest_first[49])
    second = shown(f"?before={first[2]}")
    assert second == (newest_first[50:100], newest_first[50], newest_first[99])
    third = shown(f"?before={second[2]}")
    assert third == (newest_first[100:], newest_first[100], None)
    assert shown(f"?after={third[1]}") == second
    assert shown(f"?after={second[1]}") == first
    assert f'href="?q=batch&amp;before={first[2]}"' in page_of(cast, "?q=batch")


@pytest.mark.parametrize("query", ["?before=x", "?after=²", "?before=", "?after=" + "9" * 30])
def test_a_position_that_is_none_shows_the_newest(cast: Cast, query: str) -> None:
    make_batch(cast)
    assert "Review themes" in text_of(cast, query)


def test_behind_the_last_there_is_a_way_back(cast: Cast) -> None:
    make_batch(cast)
    assert "No batches on this side of the list. To the newest" in text_of(cast, "?before=1")


def test_live_rows_change_by_the_cell(cast: Cast) -> None:
    batch = make_batch(cast, state="in_progress", rows=10, sent=10, parts=2)
    make_batch(cast, "ended", state="ended")
    client = cast.client(cast.vera)
    asked = watched(Batch.objects.all())
    assert f"live/?rows={asked.replace(',', '%2C')}" in page_of(cast)
    assert client.get(f"{LIST}live/", {"rows": asked}).status_code == 204

    Batch.objects.filter(pk=batch.pk).update(parts_ended=1, succeeded=5)
    body = client.get(f"{LIST}live/", {"rows": asked}).content.decode()
    assert f'<span id="b{batch.pk}-parts" hx-swap-oob="true">1/2</span>' in body
    assert 'hx-trigger="every 5s"' in body

    Batch.objects.filter(pk=batch.pk).update(state="ended")
    last = client.get(f"{LIST}live/", {"rows": asked}).content.decode()
    assert "every 5s" not in last


@pytest.mark.parametrize("rows", ["", "x", "1.2.3", "," * 99, "²", "9" * 40])
def test_live_rows_that_are_none_are_nothing(cast: Cast, rows: str) -> None:
    response = cast.client(cast.vera).get(f"{LIST}live/", {"rows": rows})
    assert response.status_code == 200
    assert "hx-trigger" not in response.content.decode()


def test_live_rows_of_others_are_not_told(cast: Cast) -> None:
    theirs = Batch.objects.create(workspace=cast.other, name="Not yours", state="in_progress")
    body = cast.client(cast.vera).get(f"{LIST}live/", {"rows": f"{theirs.pk}.0"}).content.decode()
    assert f"b{theirs.pk}" not in body


def test_other_workspaces_batches_are_not_in_it(cast: Cast) -> None:
    Batch.objects.create(workspace=cast.other, name="Not yours")
    assert "Not yours" not in text_of(cast)


def test_names_and_labels_are_text(cast: Cast) -> None:
    make_batch(cast, "<img src=x onerror=alert(1)>", labels=["<script>"])
    page = page_of(cast, "?label=<script>")
    assert "<img" not in page
    assert "&lt;img src=x" in page
    assert "<script>" not in page


def test_fifty_rows_cost_as_many_queries_as_one(cast: Cast) -> None:
    client = cast.client(cast.vera)
    make_batch(cast)
    client.get(LIST)
    with CaptureQueriesContext(connection) as one:
        client.get(LIST)
    upload = make_upload(cast)
    for _ in range(49):
        make_batch(cast, upload=upload, created_by=cast.bob)
    with CaptureQueriesContext(connection) as fifty:
        client.get(LIST)
    assert len(fifty) == len(one)


def test_strangers_find_nothing(cast: Cast) -> None:
    assert cast.client(cast.charlie).get(LIST).status_code == 404
    assert cast.client(cast.charlie).get(f"{LIST}live/").status_code == 404
