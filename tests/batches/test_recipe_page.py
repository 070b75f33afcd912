import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.html import strip_tags

from batches import archive
from batches.models import Batch, Upload
from batches.planning import Selection
from batches.starting import start
from leases.clock import database_now
from tests.batches.build import make_part, make_run
from tests.batches.drafts import FIELDS, RECIPE, draft_of, give_models, make_draft
from tests.batches.stage import now
from tests.cast import Cast


def place(batch: Batch, query: str = "") -> str:
    return f"/w/acme/batches/{batch.pk}/recipe/{query}"


def page_of(cast: Cast, batch: Batch, query: str = "", name: str = "bob") -> str:
    response = cast.client(getattr(cast, name)).get(place(batch, query))
    assert response.status_code == 200
    return response.content.decode()


def text_in(page: str) -> str:
    return " ".join(unescape(strip_tags(page)).split())


def post(cast: Cast, batch: Batch, **fields: str) -> Any:
    return cast.client(cast.bob).post(place(batch), {**FIELDS, **fields})


def error_at(page: str, field: str) -> str:
    found = re.search(f'id="errors-{field}"[^>]*>(.*?)</div>', page, re.DOTALL)
    assert found
    return text_in(found[1])


def test_it_saves_the_recipe_and_goes_on(cast: Cast) -> None:
    batch = make_draft(cast.workspace)
    response = post(cast, batch, id_column="id", system="Be short.")
    assert response.status_code == 302
    assert response.headers["Location"] == f"/w/acme/batches/{batch.pk}/review/"
    batch.refresh_from_db()
    assert batch.saved_at
    assert batch.typed == {}
    assert batch.recipe == {
        "model": "claude-haiku-4-5",
        "prompt": "About {{city}}",
        "system": "Be short.",
        "max_tokens": 60,
        "id_column": "id",
        "thinking": None,
        "tools": [],
        "tool_choice": None,
        "output_format": None,
        "cache_system": False,
        "extra": {},
    }
    page = page_of(cast, batch)
    assert "About {{city}}</textarea>" in page
    assert 'name="max_tokens" inputmode="numeric" value="60"' in page


def test_all_problems_are_at_their_place_and_nothing_is_lost(cast: Cast) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE)
    wrong = {"model": "", "prompt": "{{citty}} <b>", "tools": '[{"x"', "max_tokens": "lots"}
    response = post(cast, batch, **wrong)
    assert response.status_code == 422
    page = response.content.decode()
    assert "4 things to mend before the review" in page
    for field in ("model", "prompt", "tools", "max_tokens"):
        assert f'<a href="#id_{field}">' in page
    assert error_at(page, "prompt").startswith("{{citty}}: no such column. Did you mean city?")
    assert error_at(page, "tools") == "Line 1, column 6: it ends before it is whole."
    assert error_at(page, "max_tokens").startswith("lots is not a whole number.")
    assert error_at(page, "system") == ""
    assert 'data-wrong="citty" data-right="city"' in page
    for kept in (page, page_of(cast, batch)):
        assert "{{citty}} &lt;b&gt;</textarea>" in kept
        assert "[{&quot;x&quot;</textarea>" in kept
        assert 'value="lots"' in kept
        assert '<details class="fold advanced" id="advanced" open>' in kept


def test_a_recipe_that_somebody_else_saved_meanwhile_is_not_overwritten(cast: Cast) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE)
    found = re.search(r'name="loaded" value="(\w+)"', page_of(cast, batch, "?from=blank"))
    assert found
    assert post(cast, batch, prompt="Theirs {{text}}", loaded=found[1]).status_code == 302
    response = post(cast, batch, prompt="Mine {{city}}", tools="[", loaded=found[1])
    assert response.status_code == 422
    page = response.content.decode()
    assert "Changed at <time" in page
    assert "Mine {{city}}</textarea>" in page
    assert f'name="loaded" value="{found[1]}"' in page
    batch.refresh_from_db()
    assert batch.recipe["prompt"] == "Theirs {{text}}"
    over = re.search(r'name="over" value="(\w+)"', page)
    assert over
    response = post(cast, batch, prompt="Mine {{city}}", loaded=found[1], over=over[1])
    assert response.status_code == 302
    batch.refresh_from_db()
    assert batch.recipe["prompt"] == "Mine {{city}}"


def test_a_recipe_with_problems_cannot_be_sent(cast: Cast) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE)
    post(cast, batch, prompt="{{citty}}")
    batch.refresh_from_db()
    assert batch.recipe == {}
    assert batch.typed["recipe"] == RECIPE
    assert "The prompt has an error; showing the last good one." in page_of(cast, batch)
    assert post(cast, batch).status_code == 302
    batch.refresh_from_db()
    assert batch.recipe["prompt"] == "About {{city}}"


def test_a_form_that_nobody_touched_has_no_errors(cast: Cast) -> None:
    page = page_of(cast, make_draft(cast.workspace))
    assert 'class="error"' not in page
    assert "Write a prompt. Click a column to put it in." in page
    assert 'value="1024"' in page


def test_columns_that_are_used_have_a_check(cast: Cast) -> None:
    page = page_of(cast, make_draft(cast.workspace, recipe=RECIPE))
    pressed = dict(re.findall(r'data-column="(\w+)" aria-pressed="(\w+)"', page))
    assert pressed == {"id": "false", "city": "true", "text": "true"}
    assert 'title="city: Köln"' in page
    assert "find-column" not in page


def test_many_columns_can_be_filtered(cast: Cast) -> None:
    columns = [f"c{number}" for number in range(13)]
    batch = make_draft(cast.workspace, [["x"] * 13], columns)
    assert 'id="find-column"' in page_of(cast, batch)


def test_the_models_of_the_key_are_offered(cast: Cast) -> None:
    give_models(cast.workspace)
    batch = make_draft(cast.workspace, recipe=RECIPE)
    page = page_of(cast, batch)
    assert '<option value="claude-haiku-4-5" selected>' in page, "an alias is its model"
    assert '<option value="claude-opus-5">' in page
    text = text_in(page)
    assert "reads 200,000 tokens · answers with up to 64,000 · retires on 30 Nov 2026" in text
    assert "Model limit 64,000." in text
    assert '<option value="enabled">' in page
    assert '<option value="adaptive">' not in page
    assert 'id="id_effort"' not in page


@pytest.mark.parametrize(("days", "soon"), [(-1, True), (59, True), (61, False), (700, False)])
def test_a_model_that_retires_soon_stands_out(cast: Cast, days: int, soon: bool) -> None:
    give_models(cast.workspace)
    key = cast.workspace.live_key()
    assert key is not None
    for model in key.models:
        model["retires_at"] = (database_now() + timedelta(days=days)).isoformat()
    key.save()
    page = page_of(cast, make_draft(cast.workspace, recipe=RECIPE))
    assert "retires on" in page
    assert ('<span class="retires">' in page) == soon


def test_a_model_that_is_not_listed_is_sent_as_typed(cast: Cast) -> None:
    give_models(cast.workspace)
    batch = make_draft(cast.workspace)
    assert post(cast, batch, model="other", other_model="claude-x").status_code == 302
    page = page_of(cast, batch)
    assert '<option value="other" selected>' in page
    assert 'name="other_model" value="claude-x"' in page
    assert "Not in the list of this key" in page
    batch.refresh_from_db()
    assert batch.recipe["model"] == "claude-x"


def test_what_a_model_cannot_is_a_problem(cast: Cast) -> None:
    give_models(cast.workspace)
    batch = make_draft(cast.workspace)
    response = post(cast, batch, max_tokens="64001", thinking="adaptive", effort="low")
    assert response.status_code == 422
    page = response.content.decode()
    assert error_at(page, "max_tokens").startswith("max_tokens is 64,001.")
    assert error_at(page, "thinking").startswith("claude-haiku-4-5 does not take thinking")
    assert error_at(page, "effort").startswith("claude-haiku-4-5 does not take effort")


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        ("", "The number that the spreadsheet shows."),
        ("id", "Column id: 1 value appears more than once. Only the first row of each value"),
        ("city", "Column city: 1 row has none. Rows without one cannot be sent."),
        ("text", "Each row has its own."),
    ],
)
def test_it_says_at_once_whether_a_column_tells_the_rows_apart(
    cast: Cast, column: str, sentence: str
) -> None:
    batch = make_draft(cast.workspace, recipe={**RECIPE, "id_column": column})
    assert sentence in text_in(page_of(cast, batch))


def test_a_recipe_of_another_file_is_kept_and_says_what_does_not_fit(cast: Cast) -> None:
    batch = make_draft(cast.workspace, [["x"]], ["town"], recipe={**RECIPE, "id_column": "id"})
    page = page_of(cast, batch)
    assert "About {{city}}: {{text}}</textarea>" in page
    assert "{{city}}: no such column." in error_at(page, "prompt")
    assert "id (not in this file)" in page
    assert "The preview appears when what is marked is mended." in page


def test_it_starts_from_another_recipe_and_saves_nothing_before_a_change(cast: Cast) -> None:
    other = make_draft(cast.workspace, name="Towns", recipe={**RECIPE, "prompt": "Hi {{text}}"})
    theirs = make_draft(cast.other, name="Theirs", recipe={**RECIPE, "prompt": "Secret {{text}}"})
    batch = make_draft(cast.workspace, recipe=RECIPE)
    assert f'<a href="?from={other.pk}">' in page_of(cast, batch)
    assert "Theirs" not in page_of(cast, batch)
    assert "Hi {{text}}</textarea>" in page_of(cast, batch, f"?from={other.pk}")
    assert "About" not in page_of(cast, batch, "?from=blank").split("</form>")[0]
    for nothing in (theirs.pk, 10**30, "x", ""):
        assert "About {{city}}" in page_of(cast, batch, f"?from={nothing}")
    batch.refresh_from_db()
    assert batch.recipe == RECIPE
    assert batch.saved_at is None


def test_a_viewer_reads_and_changes_nothing(cast: Cast) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE)
    page = page_of(cast, batch, name="vera")
    assert "<fieldset disabled>" in page
    assert "Only members can change the recipe: ask alice or bob." in text_in(page)
    assert "Continue to review" not in page
    assert "hx-post" not in page
    assert 'class="chip"' not in page
    assert cast.client(cast.vera).post(place(batch), FIELDS).status_code == 403
    batch.refresh_from_db()
    assert batch.recipe == RECIPE


def test_a_stranger_finds_nothing(cast: Cast) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE)
    assert cast.client(cast.charlie).get(place(batch)).status_code == 404
    assert cast.client(cast.charlie).post(place(batch), FIELDS).status_code == 404


def test_without_a_file_that_is_read_it_leads_to_the_file(cast: Cast) -> None:
    batch = make_draft(cast.workspace)
    Upload.objects.filter(pk=batch.upload_id).update(state="queued")
    response = cast.client(cast.bob).get(place(batch))
    assert response.headers["Location"] == f"/w/acme/batches/{batch.pk}/file/"


def test_ready_requests_need_no_recipe(cast: Cast) -> None:
    batch = draft_of(cast.workspace, [], [])
    page = page_of(cast, batch)
    assert "These are finished requests: no recipe is needed." in page
    assert f"/batches/{batch.pk}/review/" in page


def test_what_was_sent_is_read_and_not_changed(cast: Cast) -> None:
    recipe = {**RECIPE, "system": "Be <b>short</b>.", "tools": [{"name": "look"}]}
    batch = make_draft(cast.workspace, recipe=recipe, state="in_progress")
    run = make_run(batch, recipe=recipe)
    make_part(run, [2, 3], state="submitted")
    page = page_of(cast, batch, name="vera")
    text = text_in(page)
    assert "Model claude-haiku-4-5 Max tokens 60 Rows identified by their number" in text
    assert "About <mark>city</mark>: <mark>text</mark>" in page
    assert "Be &lt;b&gt;short&lt;/b&gt;." in page
    assert "Request of row 2" in text
    assert '"custom_id": "2_' in text
    assert "Use this recipe again" not in page
    assert '<button form="reuse">Use this recipe again</button>' in page_of(cast, batch)
    assert post(cast, batch, prompt="Other {{text}}").status_code == 200
    batch.refresh_from_db()
    assert batch.recipe == recipe


def test_a_batch_that_was_adopted_has_no_recipe(cast: Cast) -> None:
    batch = Batch.objects.create(workspace=cast.workspace, name="Adopted", state="ended")
    assert "The recipe of this batch is not known" in page_of(cast, batch)


def test_the_request_of_a_part_whose_file_is_gone_is_not_shown(cast: Cast) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE, state="ended")
    part = make_part(make_run(batch, recipe=RECIPE), [2])
    archive.delete("message_batches", part.pk)
    assert "Request of row" not in page_of(cast, batch)


def test_a_draft_that_is_sent_meanwhile_stays_as_it_was_sent(cast: Cast) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE)
    start(batch, Selection(), now())
    assert post(cast, batch, prompt="Late {{text}}").status_code == 200
    batch.refresh_from_db()
    assert batch.recipe == RECIPE


def test_it_costs_the_same_however_many_batches_there_are(cast: Cast) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE)
    client = cast.client(cast.bob)
    client.get(place(batch))
    with CaptureQueriesContext(connection) as before:
        client.get(place(batch))
    for number in range(12):
        make_draft(cast.workspace, name=f"Other {number}", recipe=RECIPE)
    with CaptureQueriesContext(connection) as after:
        client.get(place(batch))
    assert len(after) == len(before)
