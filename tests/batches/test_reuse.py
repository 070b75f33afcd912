from typing import Any

import pytest
from django.contrib.messages import get_messages

from batches.models import Batch, Upload
from tests.batches.drafts import RECIPE, draft_of, make_draft
from tests.cast import Cast


def post(cast: Cast, batch: Batch, name: str = "bob", **fields: str) -> Any:
    client = cast.client(getattr(cast, name))
    return client.post(f"/w/acme/batches/{batch.pk}/reuse/", fields)


def test_a_recipe_is_taken_to_a_new_file(cast: Cast) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE, state="ended")
    response = post(cast, batch)
    assert response.headers["Location"] == f"/w/acme/batches/new/?recipe={batch.pk}"
    assert Batch.objects.count() == 1, "a draft comes with its file"


def test_a_duplicate_has_the_same_rows_and_recipe(cast: Cast) -> None:
    batch = make_draft(
        cast.workspace, recipe=RECIPE, state="ended", labels=["q4"], leave_out=3, sent=3
    )
    response = post(cast, batch, same_file="1")
    copy = Batch.objects.exclude(pk=batch.pk).get()
    assert response.headers["Location"] == f"/w/acme/batches/{copy.pk}/review/"
    assert (copy.upload_id, copy.recipe) == (batch.upload_id, RECIPE)
    assert (copy.state, copy.sent, copy.runs.count()) == ("draft", 0, 0)
    assert (copy.name, copy.labels, copy.leave_out) == ("Cities (copy)", ["q4"], 3)
    assert copy.created_by == cast.bob


def test_the_name_of_a_duplicate_does_not_grow(cast: Cast) -> None:
    batch = make_draft(cast.workspace, name="x" * 194 + " (copy)"[:6], recipe=RECIPE)
    post(cast, batch, same_file="1")
    copy = Batch.objects.exclude(pk=batch.pk).get()
    assert len(copy.name) == 200
    post(cast, copy, same_file="1")
    assert set(Batch.objects.exclude(pk=batch.pk).values_list("name", flat=True)) == {copy.name}


def test_finished_requests_are_duplicated_without_a_recipe(cast: Cast) -> None:
    batch = draft_of(cast.workspace, [], [], state="ended")
    response = post(cast, batch, same_file="1")
    assert response.headers["Location"].endswith("/review/")


def test_a_draft_that_is_no_recipe_yet_is_duplicated_as_it_was_typed(cast: Cast) -> None:
    batch = make_draft(cast.workspace, typed={"fields": {"prompt": "{{"}, "recipe": {}})
    response = post(cast, batch, same_file="1")
    assert response.headers["Location"].endswith("/recipe/")
    assert Batch.objects.exclude(pk=batch.pk).get().typed == batch.typed


def test_a_batch_without_a_file_leads_to_a_new_file(cast: Cast) -> None:
    batch = Batch.objects.create(workspace=cast.workspace, name="Adopted", state="ended")
    response = post(cast, batch, same_file="1")
    assert response.headers["Location"] == f"/w/acme/batches/new/?recipe={batch.pk}"


@pytest.mark.parametrize("state", ["receiving", "queued", "refused"])
def test_a_file_without_rows_is_not_shared(cast: Cast, state: str) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE)
    Upload.objects.update(state=state)
    response = post(cast, batch, same_file="1")
    assert response.headers["Location"] == f"/w/acme/batches/new/?recipe={batch.pk}"
    assert Batch.objects.count() == 1
    [said] = get_messages(response.wsgi_request)
    assert str(said) == "Only the recipe comes along: reviews.csv has no rows yet."


def test_viewers_and_strangers_take_nothing_over(cast: Cast) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE)
    assert post(cast, batch, "vera", same_file="1").status_code == 403
    assert post(cast, batch, "charlie", same_file="1").status_code == 404
    assert Batch.objects.count() == 1
