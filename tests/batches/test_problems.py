import pytest

from batches.models import Batch, Upload
from tests.batches.answers import (
    BUSY,
    CUT,
    EXPIRED,
    WRONG,
    add_part,
    answered,
    make_batch,
    move_in,
)
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


def test_each_group_has_its_way_out(cast: Cast) -> None:
    batch = answered({2: WRONG, 3: BUSY, 4: BUSY, 5: CUT, 6: EXPIRED})
    page = main_of(page_of(cast, batch, "bob"))
    retry = f"/w/team/batches/{batch.pk}/retry/"
    assert link_named(page, "Retry 2…") == f"{retry}?error=overloaded_error"
    assert link_named(page, "Retry 1…") == f"{retry}?type=expired"
    assert link_named(page, "Raise max tokens and retry…") == f"{retry}?stop=max_tokens"
    edit = f"{retry}recipe/?to=error%3Dinvalid_request_error"
    assert link_named(page, "Edit the recipe") == edit
    page = page_of(cast, batch)
    assert "/retry/" not in main_of(page)
    assert "Only members can retry rows: ask alice or bob." in text_of(page)


def test_ready_requests_that_are_wrong_need_a_new_file(cast: Cast) -> None:
    batch = answered({2: WRONG, 3: BUSY})
    Upload.objects.update(kind=Upload.Kind.REQUESTS)
    page = main_of(page_of(cast, batch, "bob"))
    assert link_named(page, "Upload a mended file") == "/w/team/batches/new/"
    assert "Edit the recipe" not in page


def test_a_batch_that_was_not_made_here_is_not_retried(cast: Cast) -> None:
    batch = answered({2: BUSY})
    batch.message_batches.update(run=None)
    batch.runs.all().delete()
    assert "/retry/" not in main_of(page_of(cast, batch, "bob"))


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
