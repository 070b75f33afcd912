import html
import json
import re
from typing import Any

import pytest
from django.utils.html import strip_tags
from playwright.sync_api import Page, expect

from batches import archive, building
from batches.drafts import version_of
from batches.models import Batch, Upload
from batches.planning import Selection
from batches.starting import start
from tests.batches.build import table_rows
from tests.batches.drafts import FIELDS, RECIPE, draft_of, give_models, make_draft
from tests.batches.stage import now
from tests.cast import Cast, gather
from tests.workspaces.test_pages_in_browser import sign_in

HTMX = {"HX-Request": "true"}


def place(batch: Batch, query: str = "") -> str:
    return f"/w/acme/batches/{batch.pk}/recipe/preview/{query}"


def look(cast: Cast, batch: Batch, query: str = "", name: str = "vera") -> str:
    response = cast.client(getattr(cast, name)).get(place(batch, query), headers=HTMX)
    assert response.status_code == 200
    return response.content.decode()


def change(cast: Cast, batch: Batch, **fields: str) -> Any:
    data = {**FIELDS, **fields}
    return cast.client(cast.bob).post(place(batch), data, headers=HTMX)


def text_in(page: str) -> str:
    return " ".join(html.unescape(strip_tags(page)).split())


def request_in(page: str) -> Any:
    code = re.search(r'<code id="request-json">(.*?)</code>', page, re.DOTALL)
    assert code
    return json.loads(html.unescape(strip_tags(code[1])))


def test_a_row_is_shown_with_its_cells_marked(cast: Cast) -> None:
    page = look(cast, make_draft(cast.workspace, recipe=RECIPE))
    assert 'About <mark title="city">Köln</mark>: <mark title="text">Grüße</mark>' in page
    text = text_in(page)
    assert "tokens in. This row fits." in text
    assert "of 32 MB" in text


def test_an_empty_cell_is_seen(cast: Cast) -> None:
    page = look(cast, make_draft(cast.workspace, recipe=RECIPE), "?row=3")
    assert "∅ city</mark>" in page


def test_the_request_is_exactly_what_building_writes(cast: Cast) -> None:
    recipe = {
        **RECIPE,
        "system": "In {{city}}",
        "max_tokens": 3_000,
        "thinking": {"type": "enabled", "budget_tokens": 2_000},
        "output_format": {"type": "object"},
        "cache_system": True,
        "extra": {"output_config": {"effort": "low"}, "stop_sequences": ["<"]},
    }
    batch = make_draft(cast.workspace, recipe=recipe)
    shown = [request_in(look(cast, batch, f"?row={row}&show=json")) for row in (2, 3, 4)]
    raw = cast.client(cast.vera).get(place(batch, "?row=2&show=raw"))
    start(batch, Selection(), now())
    assert building.step(now())
    [part] = batch.message_batches.all()
    lines = archive.requests(part.pk, part.requests_fence).read_bytes().splitlines()
    assert [json.loads(line)["params"] for line in lines] == shown
    assert raw.headers["Content-Type"] == "application/json"
    assert lines[0].endswith(b'"params":' + raw.content + b"}")


def test_a_change_is_saved_and_shown(cast: Cast) -> None:
    batch = make_draft(cast.workspace)
    response = change(cast, batch, prompt="New {{text}}", preview_row="4", preview_show="text")
    page = response.content.decode()
    assert 'New <mark title="text">long' in page
    assert response.headers["HX-Replace-Url"] == f"/w/acme/batches/{batch.pk}/recipe/?row=4"
    assert re.search(r'id="saved" hx-swap-oob="true">Saved <time', page)
    batch.refresh_from_db()
    assert batch.recipe["prompt"] == "New {{text}}"
    assert batch.saved_at


def test_an_error_is_told_at_its_field_and_the_last_good_preview_stays(cast: Cast) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE)
    page = change(cast, batch, prompt="{{citty}}", extra="{").content.decode()
    assert "The prompt has an error; showing the last good one." in page
    assert 'class="preview-body stale"' in page
    assert "Köln</mark>" in page
    assert 'id="errors-prompt" hx-swap-oob="true"><p class="error">' in page
    assert 'data-field="prompt" data-wrong="citty" data-right="city"' in page
    assert 'id="errors-extra" hx-swap-oob="true"><p class="error">' in page
    assert 'id="errors-tools" hx-swap-oob="true"></div>' in page
    batch.refresh_from_db()
    assert batch.typed["fields"]["extra"] == "{"
    page = change(cast, batch).content.decode()
    assert "stale" not in page
    assert 'id="errors-extra" hx-swap-oob="true"></div>' in page


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"prompt": " "}, "Write a prompt. Click a column to put it in."),
        ({"prompt": "Hi"}, "Put a column in: without one every row gets the same request."),
        ({"prompt": "{{x"}, "The preview appears when what is marked is mended."),
        ({"model": ""}, "tokens in. Choose a model."),
    ],
)
def test_while_there_is_no_recipe_it_says_what_is_missing(
    cast: Cast, fields: dict[str, str], sentence: str
) -> None:
    assert sentence in text_in(change(cast, make_draft(cast.workspace), **fields).content.decode())


def test_what_another_model_can_comes_with_the_model(cast: Cast) -> None:
    give_models(cast.workspace)
    batch = make_draft(cast.workspace)
    page = change(cast, batch, thinking_offered="adaptive disabled low").content.decode()
    assert 'id="thinking-fields" hx-swap-oob="true"' in page
    assert '<option value="enabled">' in page
    page = change(cast, batch, model="claude-opus-5", thinking_offered="").content.decode()
    assert '<option value="xhigh">xhigh</option>' in page, "as the API spells it"
    page = change(cast, batch, thinking_offered="enabled disabled").content.decode()
    assert "thinking-fields" not in page, "nothing is drawn anew under somebody's hands"


def test_a_row_that_cannot_be_sent_says_why(cast: Cast) -> None:
    rows = [archive.Row(2, reason="Row 2: it has 6 cells."), *table_rows(["", "", ""])]
    rows[1] = archive.Row(3, cells=["", "", ""])
    batch = draft_of(cast.workspace, ["id", "city", "text"], rows, recipe=RECIPE)
    assert "Left out. Row 2: it has 6 cells." in text_in(look(cast, batch, "?row=2"))
    page = look(cast, batch, "?row=3&show=json")
    assert "every column that the prompt uses is empty." in text_in(page)
    assert "request-json" not in page


def test_a_row_that_the_file_has_not_says_which_is_shown(cast: Cast) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE)
    assert "The file has no row 99: this is row 4." in text_in(look(cast, batch, "?row=99"))


def test_a_long_row_may_not_fit(cast: Cast) -> None:
    give_models(cast.workspace)
    batch = make_draft(cast.workspace, [["a", "x " * 450_000, "b"]], recipe=RECIPE)
    page = look(cast, batch)
    assert "holds 200,000 of both. The row may not fit." in text_in(page)
    assert "896,000 more characters" in page
    page = look(cast, batch, "?show=json")
    assert "The first 64 KB." in page
    assert f"{place(batch)}?show=raw&amp;row=2" in page


def test_what_stands_in_a_cell_is_text(cast: Cast) -> None:
    batch = make_draft(
        cast.workspace, [["a", "<script>alert(1)</script>", "{{id}}"]], recipe=RECIPE
    )
    for query in ("", "?show=json"):
        page = look(cast, batch, query)
        assert "<script" not in page
        assert "{{id}}" in page, "a cell is not read again"


def test_a_viewer_looks_by_links_that_change_nothing(cast: Cast) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE)
    page = look(cast, batch)
    assert "hx-post" not in page
    assert f'hx-get="{place(batch)}?row=3' in page
    assert cast.client(cast.vera).post(place(batch), FIELDS).status_code == 403


def test_a_stranger_finds_nothing(cast: Cast) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE)
    assert cast.client(cast.charlie).get(place(batch)).status_code == 404
    assert cast.client(cast.charlie).post(place(batch), FIELDS).status_code == 404


def test_without_scripts_the_button_saves_and_shows(cast: Cast) -> None:
    batch = make_draft(cast.workspace)
    client = cast.client(cast.bob)
    response = client.post(place(batch), {**FIELDS, "prompt": "{{citty}}", "preview_row": "3"})
    page = f"/w/acme/batches/{batch.pk}/recipe/?row=3"
    assert response.headers["Location"] == f"{page}#preview-pane"
    assert b"Did you mean" in client.get(page).content
    response = client.get(f"/w/acme/batches/{batch.pk}/recipe/?row=longest")
    assert response.headers["Location"] == f"/w/acme/batches/{batch.pk}/recipe/?row=4"


def test_once_it_is_sent_typing_leads_to_what_was_sent(cast: Cast) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE)
    start(batch, Selection(), now())
    response = change(cast, batch, prompt="Late {{text}}")
    assert response.headers["HX-Redirect"] == f"/w/acme/batches/{batch.pk}/recipe/"
    batch.refresh_from_db()
    assert batch.recipe == RECIPE


def test_rows_that_are_gone_are_said_to_be(cast: Cast) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE)
    archive.delete("uploads", batch.upload_id)
    assert "The rows of this file are not readable on the server." in look(cast, batch)
    Upload.objects.filter(pk=batch.upload_id).update(rows_fence=None)
    assert "The rows of this file are not readable on the server." in look(cast, batch)


def test_typing_changes_the_preview_and_mends(page: Page) -> None:
    cast = gather()
    give_models(cast.workspace)
    batch = make_draft(cast.workspace, recipe=RECIPE)
    sign_in(page, cast.bob)
    page.wait_for_url("**/w/acme/")
    page.goto(f"/w/acme/batches/{batch.pk}/recipe/")
    prompt, preview = page.locator("#id_prompt"), page.locator("#preview")
    prompt.fill("About : and {{ citty }}")
    expect(page.locator("#errors-prompt")).to_contain_text("Did you mean city?")
    expect(preview).to_contain_text("The prompt has an error; showing the last good one.")
    expect(prompt).to_have_attribute("aria-invalid", "true")
    prompt.evaluate("field => field.setSelectionRange(6, 6)")
    page.get_by_role("button", name="text", exact=True).click()
    expect(prompt).to_have_value("About {{text}}: and {{ citty }}")
    expect(prompt).to_be_focused()
    assert prompt.evaluate("field => field.selectionStart") == len("About {{text}}")
    page.get_by_role("button", name="Use it").click()
    expect(prompt).to_have_value("About {{text}}: and {{city}}")
    expect(preview.locator(".filled")).to_have_text("About Grüße: and Köln")
    expect(page.get_by_role("button", name="city", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    page.get_by_text("Advanced").click()
    page.locator("#id_tools").fill('[{"name": "look",}]')
    expect(page.locator("#errors-tools")).to_have_text(
        "Line 1, column 18: JSON does not allow a comma before }."
    )
    page.locator("#id_tools").fill("")
    expect(page.locator("#errors-tools")).to_be_empty()
    page.get_by_role("link", name="Longest").click()
    page.wait_for_url("**/recipe/?row=4")
    page.get_by_role("link", name="Request JSON").click()
    expect(page.locator("#request-json")).to_contain_text('"content": "About long long')
    page.locator("#id_model").select_option("claude-opus-5")
    expect(page.locator("#id_effort")).to_be_visible()
    page.get_by_role("button", name="Continue to review").click()
    page.wait_for_url("**/review/")
    batch.refresh_from_db()
    assert batch.recipe["prompt"] == "About {{text}}: and {{city}}"
    assert batch.recipe["model"] == "claude-opus-5"


def loaded_in(page: str) -> str:
    found = re.search(r'name="loaded" value="(\w+)"', page)
    assert found
    return found[1]


def test_a_page_that_goes_on_saving_carries_what_it_saved(cast: Cast) -> None:
    batch = make_draft(cast.workspace)
    page = cast.client(cast.bob).get(f"/w/acme/batches/{batch.pk}/recipe/").content.decode()
    for prompt in ("{{te", "Of {{text}}", "Of {{text}} in {{city}}"):
        page = change(cast, batch, prompt=prompt, loaded=loaded_in(page)).content.decode()
        assert "Changed at" not in page
    batch.refresh_from_db()
    assert batch.recipe["prompt"] == "Of {{text}} in {{city}}"


def test_what_somebody_else_saved_meanwhile_is_not_overwritten(cast: Cast) -> None:
    batch = make_draft(cast.workspace)
    loaded = loaded_in(
        cast.client(cast.bob).get(f"/w/acme/batches/{batch.pk}/recipe/").content.decode()
    )
    change(cast, batch, prompt="Theirs {{text}}", loaded=loaded)
    page = change(cast, batch, prompt="Mine {{text}}", system="S", loaded=loaded).content.decode()
    assert re.search(r'id="saved" hx-swap-oob="true">\s*<span[^>]*>Changed at <time', page)
    assert f'href="/w/acme/batches/{batch.pk}/recipe/?row=2">Load it</a>' in page
    assert 'name="loaded"' not in page, "the next save is not taken either"
    assert 'Mine <mark title="text">' in page, "the preview is of what was typed"
    batch.refresh_from_db()
    assert batch.recipe["prompt"] == "Theirs {{text}}"
    over = re.search(r'name="over" value="(\w+)"', page)
    assert over
    kept = {"prompt": "Mine {{text}}", "loaded": loaded, "over": over[1]}
    change(cast, batch, prompt="Third {{text}}")
    page = change(cast, batch, **kept).content.decode()
    assert "Changed at" in page, "what is saved over is what was told of, and nothing newer"
    over = re.search(r'name="over" value="(\w+)"', page)
    assert over
    page = change(cast, batch, **{**kept, "over": over[1]}).content.decode()
    assert "Saved <time" in page
    batch.refresh_from_db()
    assert batch.recipe["prompt"] == "Mine {{text}}"
    assert loaded_in(page) == version_of(batch)


def test_saving_the_same_twice_is_no_conflict(cast: Cast) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE)
    for _ in range(2):
        page = change(cast, batch, prompt="{{te", loaded=version_of(batch)).content.decode()
        assert "Saved <time" in page


def test_without_scripts_the_choice_is_on_the_page(cast: Cast) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE)
    client = cast.client(cast.bob)
    loaded = version_of(batch)
    change(cast, batch, prompt="Theirs {{text}}", loaded=loaded)
    mine = {**FIELDS, "prompt": "Mine {{text}}", "loaded": loaded}
    response = client.post(place(batch), mine)
    assert response.status_code == 422
    page = response.content.decode()
    assert "Mine {{text}}</textarea>" in page
    assert loaded_in(page) == loaded
    over = re.search(r'name="over" value="(\w+)" formaction="(.*?)"', page)
    assert over
    response = client.post(over[2], {**mine, "over": over[1]})
    assert response.status_code == 302
    batch.refresh_from_db()
    assert batch.recipe["prompt"] == "Mine {{text}}"


def test_two_tabs_do_not_overwrite_each_other(page: Page) -> None:
    cast = gather()
    batch = make_draft(cast.workspace, recipe=RECIPE)
    sign_in(page, cast.bob)
    page.wait_for_url("**/w/acme/")
    place = f"/w/acme/batches/{batch.pk}/recipe/"
    page.goto(place)
    other = page.context.new_page()
    other.goto(page.url)
    page.locator("#id_prompt").fill("First {{text}}")
    expect(page.locator("#saved")).to_contain_text("Saved")
    page.locator("#id_prompt").fill("Second {{text}}")
    expect(page.locator("#preview .filled")).to_have_text("Second Grüße")
    other.locator("#id_system").fill("S")
    expect(other.locator("#saved")).to_contain_text("Changed at")
    with other.expect_navigation():
        other.locator("#id_max_tokens").press("Enter")
    expect(other.locator("#id_system")).to_have_value("S")
    expect(other.locator("#saved")).to_contain_text("Changed at")
    batch.refresh_from_db()
    assert batch.recipe["prompt"] == "Second {{text}}"
    other.get_by_role("button", name="Keep mine").click()
    expect(other.locator("#saved")).to_contain_text("Saved")
    other.locator("#id_system").fill("Short")
    expect(other.locator("#preview")).to_contain_text("Short")
    page.locator("#id_prompt").fill("Third {{text}}")
    page.get_by_role("link", name="Load it").click()
    expect(page.locator("#id_system")).to_have_value("Short")
    held = []
    page.route("**/preview/", lambda route: held.append((route, route.fetch())), times=1)
    with page.expect_request("**/preview/"):
        page.locator("#id_prompt").fill("Fourth {{text}}")
    page.locator("#id_prompt").fill("Fifth {{text}}")
    # The tab does not know yet that its own save is done.
    page.get_by_role("button", name="Continue to review").click()
    [(route, response)] = held
    route.fulfill(response=response)
    page.wait_for_url("**/review/")
    batch.refresh_from_db()
    assert batch.recipe["prompt"] == "Fifth {{text}}"


def test_a_row_can_be_tried_live_exactly_so(cast: Cast) -> None:
    batch = make_draft(cast.workspace, recipe=RECIPE)
    page = look(cast, batch, "?row=2", "bob")
    asked = re.search(r'name="request" value="(.*?)"', page)
    assert asked
    raw = cast.client(cast.vera).get(place(batch, "?row=2&show=raw")).content
    assert html.unescape(asked[1]).encode() == raw
    assert f'name="origin" value="/w/acme/batches/{batch.pk}/recipe/?row=2"' in page
    assert "Try this row live" not in look(cast, batch)


def test_a_request_that_is_too_large_says_why_it_cannot_be_tried(cast: Cast) -> None:
    recipe = {**RECIPE, "system": "x" * 2_000_000}
    page = look(cast, make_draft(cast.workspace, recipe=recipe), name="bob")
    assert "Try this row live: up to 2 MB, and this request is larger." in text_in(page)
    assert 'name="request"' not in page
