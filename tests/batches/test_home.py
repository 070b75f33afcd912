from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.html import strip_tags

from batches.models import Batch, Upload
from tests.cast import Cast
from workspaces.keys import save_key


def make_batch(cast: Cast, name: str = "Review themes", **fields: object) -> Batch:
    return Batch.objects.create(workspace=cast.workspace, name=name, **fields)


def text_of(cast: Cast, query: str = "", name: str = "vera") -> str:
    response = cast.client(getattr(cast, name)).get(f"/w/acme/{query}")
    assert response.status_code == 200
    return " ".join(unescape(strip_tags(response.content.decode())).split())


def row_of(cast: Cast) -> list[str]:
    body = cast.client(cast.vera).get("/w/acme/").content.decode().split("<tbody>")[1]
    cells = body.split("</tr>")[0].split("</td>")[:-1]
    return [" ".join(unescape(strip_tags(cell)).split()) for cell in cells]


def test_it_lists_the_batches(cast: Cast) -> None:
    upload = Upload.objects.create(
        workspace=cast.workspace, filename="reviews.csv", token="t", size=1
    )
    batch = make_batch(
        cast,
        upload=upload,
        state="in_progress",
        rows=9997,
        sent=9997,
        succeeded=5978,
        errored=22,
        parts=10,
        parts_ended=6,
    )
    state, name, rows, succeeded, not_succeeded, parts, when = row_of(cast)
    assert state == "In progress"
    assert name.startswith(f"Review themes #{batch.pk} · reviews.csv")
    assert [rows, succeeded, not_succeeded, parts] == ["9,997", "5,978", "22", "6/10"]
    assert when.endswith(" s ago")


def test_what_is_not_known_yet_is_not_zero(cast: Cast) -> None:
    make_batch(cast, state="in_progress", rows=100, sent=100, parts=1)
    assert row_of(cast)[2:6] == ["100", "–", "–", "0/1"]


@pytest.mark.parametrize(
    ("fields", "word", "colour"),
    [
        ({"state": "ended", "sent": 2, "succeeded": 2}, "Ended", "green"),
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
    page = cast.client(cast.vera).get("/w/acme/").content.decode()
    assert f'class="pill pill-{colour}"' in page
    assert row_of(cast)[0] == word


@pytest.mark.parametrize("state", Batch.State.values)
def test_every_state_has_a_look(cast: Cast, state: str) -> None:
    make_batch(cast, state=state)
    assert row_of(cast)[0]


def test_pages_of_fifty_lead_on_and_back(cast: Cast) -> None:
    ids = [make_batch(cast, f"batch {number}").pk for number in range(120)]
    client = cast.client(cast.vera)

    def shown(query: str) -> tuple[list[int], int | None, int | None]:
        page = client.get(f"/w/acme/{query}").context["page"]
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


@pytest.mark.parametrize("query", ["?before=x", "?after=²", "?before=", "?after=" + "9" * 30])
def test_a_position_that_is_none_shows_the_newest(cast: Cast, query: str) -> None:
    make_batch(cast)
    assert "Review themes" in text_of(cast, query)


def test_behind_the_last_there_is_a_way_back(cast: Cast) -> None:
    make_batch(cast)
    assert "No batches on this side of the list. To the newest" in text_of(cast, "?before=1")


def test_an_empty_workspace_says_what_will_be_here(cast: Cast) -> None:
    assert "manage.py run_batch FILE.csv --workspace acme" in text_of(cast, name="bob")
    assert "run_batch" not in text_of(cast)


def test_other_workspaces_batches_are_not_in_it(cast: Cast) -> None:
    Batch.objects.create(workspace=cast.other, name="Not yours")
    assert "Not yours" not in text_of(cast)


def test_names_are_text(cast: Cast) -> None:
    make_batch(cast, "<img src=x onerror=alert(1)>")
    page = cast.client(cast.vera).get("/w/acme/").content.decode()
    assert "<img" not in page
    assert "&lt;img src=x" in page


def test_a_strip_says_when_the_sandbox_answers(cast: Cast) -> None:
    assert "Sandbox:" not in text_of(cast)
    save_key(cast.workspace, "sandbox", "sk-ant-acme-secret")
    text = text_of(cast)
    assert "Sandbox: answers are made up and nothing is billed." in text
    assert "sk-ant-acme" not in text


def test_fifty_rows_cost_as_many_queries_as_one(cast: Cast) -> None:
    client = cast.client(cast.vera)
    make_batch(cast)
    client.get("/w/acme/")
    with CaptureQueriesContext(connection) as one:
        client.get("/w/acme/")
    for _ in range(49):
        make_batch(cast)
    with CaptureQueriesContext(connection) as fifty:
        client.get("/w/acme/")
    assert len(fifty) == len(one)
