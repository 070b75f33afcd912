from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext

from batches.models import Batch
from tests.batches.answers import (
    BUSY,
    CUT,
    EXPIRED,
    WRONG,
    add_part,
    answered,
    collect,
    make_batch,
    move_in,
)
from tests.batches.build import succeeded
from tests.batches.html import as_text, link_named, links_in, main_of, text_of
from tests.cast import Cast


@pytest.fixture(autouse=True)
def _moved_in(cast: Cast) -> None:
    move_in(cast)


def get(cast: Cast, batch: Batch, query: str = "", name: str = "vera", **options: Any) -> Any:
    client = cast.client(getattr(cast, name))
    response = client.get(f"/w/team/batches/{batch.pk}/results/{query}", **options)
    assert response.status_code in (200, 204)
    return response


def rows_in(response: HttpResponse) -> list[list[str]]:
    """The cells of each line of the table, without the one to check."""
    body = main_of(response).split("<tbody>")[1].split("</tbody>")[0]
    return [
        [as_text(cell) for cell in row.split("</td>")[1:-1]] for row in body.split("</tr>")[:-1]
    ]


def test_it_shows_a_line_for_each_answer(cast: Cast) -> None:
    batch = answered({2: succeeded("yes\nindeed"), 3: WRONG, 4: EXPIRED, 5: CUT})
    response = get(cast, batch)
    rows = rows_in(response)
    assert rows[0][:3] == ["2", "r-2", "text 2"]
    assert rows[0][3].startswith("yes indeed")
    assert rows[0][4:] == ["Succeeded", "5"]
    assert rows[1][3].startswith("invalid_request_error messages: at least one message is")
    assert [row[4] for row in rows] == ["Succeeded", "Errored", "Expired", "Cut off"]
    assert "<title>" in response.content.decode()
    assert "All 4 Succeeded 2 Errored 1 Expired 1 Cut off 1" in text_of(response)


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("?type=succeeded", ["2", "5"]),
        ("?stop=max_tokens", ["5"]),
        ("?error=invalid_request_error", ["3"]),
        ("?from=4", ["4", "5"]),
        ("?q=half+AN", ["5"]),
        ("?q=r-3&type=errored", ["3"]),
    ],
)
def test_every_state_has_an_address(cast: Cast, query: str, rows: list[str]) -> None:
    batch = answered({2: succeeded("yes"), 3: WRONG, 4: EXPIRED, 5: CUT})
    assert [row[0] for row in rows_in(get(cast, batch, query))] == rows


@pytest.mark.parametrize(
    "query",
    [
        "?type=%00&from=%C2%B2",
        "?type=x&stop=y&error=z&q=%00",
        "?from=-1",
        "?from=999999999999999999999",
        "?columns=nope&columns=%F0%9F%99%82",
        "?answered=x",
        "?q=" + "%E5%A5%BD" * 400,
    ],
)
def test_an_address_that_somebody_made_up_is_no_error(cast: Cast, query: str) -> None:
    get(cast, answered({2: succeeded("yes")}), query)


def test_chips_lead_to_the_first_page_and_keep_what_is_looked_for(cast: Cast) -> None:
    batch = answered({2: succeeded("yes"), 3: BUSY})
    links = links_in(main_of(get(cast, batch, "?q=yes&from=2&columns=id")))
    assert f"/w/team/batches/{batch.pk}/results/?type=errored&q=yes&columns=id" in links


def test_pages_of_fifty_lead_on_and_back(cast: Cast) -> None:
    batch = answered({row: succeeded("yes") for row in range(2, 123)})
    first = get(cast, batch)
    text = text_of(first)
    assert "Rows 2–51, 121 in all" in text
    second = get(cast, batch, "?" + link_named(main_of(first), "Next ›").split("?")[1])
    assert rows_in(second)[0][0] == "52"
    last = get(cast, batch, "?" + link_named(main_of(first), "Last").split("?")[1])
    assert [rows_in(last)[0][0], rows_in(last)[-1][0]] == ["73", "122"]
    back = get(cast, batch, "?" + link_named(main_of(second), "‹ Previous").split("?")[1])
    assert rows_in(back) == rows_in(first)


def test_a_search_says_how_far_it_came_and_goes_on(cast: Cast) -> None:
    batch = answered({row: succeeded("yes") for row in range(2, 123)})
    first = get(cast, batch, "?q=yes")
    assert "Searched rows 2 to 51, 50 found. Go on" in text_of(first)
    on = get(cast, batch, "?" + link_named(main_of(first), "Go on").split("?")[1])
    assert "Searched rows 52 to 101, 50 found." in text_of(on)
    assert "From the start" in text_of(on)
    end = get(cast, batch, "?q=yes&from=120")
    assert "Searched rows 120 to 122, to the end: 3 found." in text_of(end)
    assert "No answer holds never" in text_of(get(cast, batch, "?q=never"))


def test_a_row_opens_with_the_filter_that_led_to_it(cast: Cast) -> None:
    batch = answered({2: succeeded("yes"), 3: BUSY})
    html = main_of(get(cast, batch, "?error=overloaded_error"))
    address = f"/w/team/batches/{batch.pk}/results/3/?error=overloaded_error"
    assert f'href="{address}" hx-get="{address}" hx-target="#drawer"' in html


def test_members_keep_the_columns_for_everybody(cast: Cast) -> None:
    batch = answered({2: succeeded("yes")})
    url = f"/w/team/batches/{batch.pk}/results/"
    member = cast.client(cast.bob)
    response = member.post(f"{url}?type=succeeded", {"columns": ["text", "id", "made up"]})
    assert response.headers["Location"] == f"{url}?type=succeeded"
    assert rows_in(get(cast, batch))[0][2:4] == ["r-2", "text 2"]
    member.post(url, {})
    assert rows_in(get(cast, batch))[0][2].startswith("yes")


def test_viewers_choose_columns_in_the_address_and_change_nothing(cast: Cast) -> None:
    batch = answered({2: succeeded("yes")})
    url = f"/w/team/batches/{batch.pk}/results/"
    assert rows_in(get(cast, batch, "?columns=id"))[0][2] == "r-2"
    assert rows_in(get(cast, batch, "?columns="))[0][2].startswith("yes")
    html = main_of(get(cast, batch))
    assert 'method="post"' not in html
    assert cast.client(cast.vera).post(url, {"columns": "id"}).status_code == 403
    assert cast.client(cast.charlie).post(url, {"columns": "id"}).status_code == 404
    batch.refresh_from_db()
    assert batch.columns == []


def test_columns_in_an_address_are_of_that_view_alone(cast: Cast) -> None:
    batch = answered({2: succeeded("yes")})
    for name in ("bob", "vera"):
        assert rows_in(get(cast, batch, "?columns=id", name=name))[0][2] == "r-2"
        assert rows_in(get(cast, batch, name=name))[0][2] == "text 2"
    batch.refresh_from_db()
    assert batch.columns == []


@pytest.mark.parametrize(
    ("longest", "shown"),
    [
        ([2, 900], ["text"]),  # {{id}} stands first in the prompt
        ([3, 40], ["id", "text"]),
        ([900, 900], ["id"]),
        ([], ["id"]),
    ],
)
def test_at_first_it_shows_what_the_prompt_is_about(
    cast: Cast, longest: list[int], shown: list[str]
) -> None:
    recipe = {"model": "claude-haiku-4-5", "prompt": "Of {{id}}: {{text}}"}
    batch = answered({2: succeeded("yes")}, recipe=recipe)
    batch.upload.column_facts = [{"filled": 1, "longest": length} for length in longest]
    batch.upload.save()
    assert get(cast, batch).context["columns"] == shown


def test_before_the_first_part_has_ended_it_says_what_will_be_here(cast: Cast) -> None:
    batch = make_batch()
    add_part(batch, (2, 3), message_batch_id="msgbatch_1", processing_status="in_progress")
    assert "No part has ended yet. The first answers appear here when one has." in text_of(
        get(cast, batch)
    )


def test_ended_without_an_answer_it_leads_to_the_problems(cast: Cast) -> None:
    batch = make_batch()
    add_part(batch, (2, 3), state="rejected", reason="No.")
    assert "No row succeeded. See the problems" in text_of(get(cast, batch))
    none = answered({2: BUSY})
    assert "No row succeeded. See the problems" in text_of(get(cast, none, "?type=succeeded"))
    assert "No answer is in this filter. Show all 1" in text_of(get(cast, none, "?type=expired"))


def test_what_came_in_since_is_said_and_not_put_under_the_pointer(cast: Cast) -> None:
    batch = make_batch(6)
    first, second = add_part(batch, (2, 3)), add_part(batch, (4, 5, 6))
    collect(first, {2: succeeded("yes"), 3: BUSY})
    html = main_of(get(cast, batch))
    assert f'hx-get="/w/team/batches/{batch.pk}/results/?answered=2&amp;told=2"' in html
    assert get(cast, batch, "?answered=2").status_code == 204
    collect(second, dict.fromkeys((4, 5, 6), succeeded("yes")))
    last = get(cast, batch, "?answered=2")
    assert "3 more answers have come in. Show" in text_of(last)
    assert '<span id="tab-results" hx-swap-oob="true">5</span>' in last.content.decode()
    assert "hx-trigger" not in last.content.decode()


def test_ready_requests_have_no_columns_to_choose(cast: Cast) -> None:
    batch = answered({2: succeeded("yes")})
    batch.upload.kind, batch.upload.columns = "requests", []
    batch.upload.save()
    html = main_of(get(cast, batch))
    assert "Columns" not in as_text(html)
    assert "yes" in html


def test_what_people_typed_and_models_wrote_is_text(cast: Cast) -> None:
    batch = answered({2: succeeded("<img src=x onerror=alert(1)>")})
    html = get(cast, batch, "?q=%3Cimg").content.decode()
    assert "<img" not in html
    assert "&lt;img src=x" in html


def test_a_draft_has_no_results_yet(cast: Cast) -> None:
    batch = make_batch()
    url = f"/w/team/batches/{batch.pk}/"
    response = cast.client(cast.vera).get(f"{url}results/")
    assert (response.status_code, response.headers["Location"]) == (302, url)


def test_fifty_rows_cost_as_many_queries_as_one(cast: Cast) -> None:
    counts = []
    for rows in (1, 50):
        batch = answered({row: succeeded("yes") for row in range(2, rows + 2)})
        client = cast.client(cast.vera)
        client.get("/w/team/")
        with CaptureQueriesContext(connection) as queries:
            client.get(f"/w/team/batches/{batch.pk}/results/")
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert counts[1] < 30


def test_rows_that_are_checked_are_retried_or_downloaded(cast: Cast) -> None:
    batch = answered({2: succeeded("yes"), 3: BUSY, 4: EXPIRED})
    page = main_of(get(cast, batch, "?type=expired", "bob"))
    assert page.count('name="row" value="4" form="selection"') == 1
    retry = f"/w/team/batches/{batch.pk}/retry/"
    assert f'<button formaction="{retry}"' in page
    assert link_named(page, "Retry all 1 of this filter…") == f"{retry}?type=expired"
    plain = main_of(get(cast, batch, "", "bob"))
    assert "Retry all" not in plain
    assert "Retry all" not in main_of(get(cast, batch, "?type=succeeded", "bob"))
    assert "/retry/" not in main_of(get(cast, batch, "?type=expired"))
    client = cast.client(cast.vera)
    export = f"/w/team/batches/{batch.pk}"
    form = client.get(f"{export}/export/?rows=selected&row=3&row=4").content.decode()
    assert 'value="selected" checked> Selected <span class="count">2</span>' in form
    assert client.get(f"{export}/download/?format=csv&rows=selected").status_code == 422
