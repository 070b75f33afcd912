import pytest

from batches.models import Batch
from tests.batches.answers import BUSY, CUT, WRONG, add_part, answered, make_batch, move_in
from tests.batches.build import succeeded
from tests.batches.html import link_named, links_in, main_of, text_of
from tests.cast import Cast


@pytest.fixture(autouse=True)
def _moved_in(cast: Cast) -> None:
    move_in(cast)


def page_of(cast: Cast, batch: Batch, name: str = "vera"):
    response = cast.client(getattr(cast, name)).get(f"/w/team/batches/{batch.pk}/problems/")
    assert response.status_code == 200
    return response


def test_it_says_what_needs_a_person_and_what_to_do(cast: Cast) -> None:
    batch = answered({2: succeeded("yes"), 3: WRONG, 4: BUSY, 5: BUSY, 6: CUT})
    response = page_of(cast, batch)
    text = text_of(response)
    assert "4 rows: 3 not succeeded + 1 answered but worth a look" in text
    assert (
        "Errored: overloaded_error 2 Safe to send again; not billed. Row 4 r-4 Overloaded" in text
    )
    assert "sending it again unchanged will fail again." in text
    assert "Succeeded, but cut off at max_tokens 1 Answered and billed, but incomplete." in text
    html = main_of(response)
    assert link_named(html, "See all 2").endswith("/results/?error=overloaded_error")
    assert any(link.endswith("/export/?rows=filter&stop=max_tokens") for link in links_in(html))
    assert html.count(">Download</a>") == 3
    assert (
        f"/w/team/batches/{batch.pk}/results/4/?back=problems&error=overloaded_error"
        in links_in(html)
    )
    assert "Problems 4" in text


def test_members_take_the_recipe_over_where_it_is_the_way_out(cast: Cast) -> None:
    batch = answered({2: WRONG, 3: BUSY})
    groups = main_of(page_of(cast, batch, "bob")).split("problem-groups")[1]
    assert groups.count(f'action="/w/team/batches/{batch.pk}/reuse/"') == 1
    assert "/reuse/" not in main_of(page_of(cast, batch))


def test_every_row_was_answered_is_said_only_where_it_is_so(cast: Cast) -> None:
    done = "Every row was sent and answered."
    assert done in text_of(page_of(cast, answered({2: succeeded("yes")})))
    partly = text_of(page_of(cast, answered({2: succeeded("yes")}, rows=4)))
    assert done not in partly
    assert "3 rows of the file were not chosen." in partly
    running = make_batch()
    add_part(running, (2, 3), message_batch_id="msgbatch_1")
    text = text_of(page_of(cast, running))
    assert done not in text
    assert "No problem so far. 0 of 1 part ended" in text


def test_what_the_api_said_is_text(cast: Cast) -> None:
    wrong = {"type": "errored", "error": {"error": {"type": "<b>x", "message": "<script>"}}}
    html = main_of(page_of(cast, answered({2: wrong})))
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "error=%3Cb%3Ex" in html


def test_strangers_do_not_see_it(cast: Cast) -> None:
    batch = answered({2: BUSY})
    client = cast.client(cast.charlie)
    assert client.get(f"/w/team/batches/{batch.pk}/problems/").status_code == 404


def test_a_draft_has_no_problems_yet(cast: Cast) -> None:
    batch = make_batch()
    response = cast.client(cast.vera).get(f"/w/team/batches/{batch.pk}/problems/")
    assert response.headers["Location"] == f"/w/team/batches/{batch.pk}/"
