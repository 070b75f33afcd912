import re
import threading
from html import unescape

import msgspec
import pytest
from django.db import connection
from django.utils.html import strip_tags

from batches import archive, building, estimating
from batches.models import Batch, Estimate, Run, Worker
from tests.batches import build
from tests.batches.stage import now
from tests.processes import wait_until
from workspaces.keys import save_key as save_key_anew
from workspaces.models import ApiKey, Event

RECIPE = {"model": "claude-haiku-4-5", "prompt": "Label {{text}}", "max_tokens": 300}
COUNTED = 412


def make_draft(cast, rows=1_200, broken=0, **fields):
    read = [archive.Row(number, cells=[f"word {number:04}"]) for number in range(2, rows + 2)]
    read += [archive.Row(rows + 2 + one, reason=f"Row {one}: broken.") for one in range(broken)]
    upload = build.make_upload(["text"], read, filename="reviews-october.csv")
    upload.workspace = cast.workspace
    upload.sha256 = fields.pop("sha256", "")
    upload.problems = {"total": broken, "rows": broken}
    upload.save()
    values = {"recipe": RECIPE, "name": "reviews-october", "leave_out": broken}
    return Batch.objects.create(workspace=cast.workspace, upload=upload, **values | fields)


def save_key(cast, api="claude", **fields):
    return ApiKey.seal(cast.workspace, api, "sk-ant-one-two", **fields)


def check(batch):
    """What a worker finds, with every counted request of 412 tokens."""
    estimating.ask(batch, now())
    row = Estimate.objects.get(batch=batch)
    found = estimating.find(row, batch, None)
    for group in found.groups:
        group.counted = [(round(group.bytes / group.rows), COUNTED)]
    Estimate.objects.filter(pk=row.pk).update(
        state="ready", due_at=None, findings=msgspec.to_builtins(found)
    )


@pytest.fixture
def worker(cast):
    return Worker.objects.create(host="web-1", pid=1, seen_at=now())


@pytest.fixture
def draft(cast, worker):
    save_key(cast)
    batch = make_draft(cast)
    check(batch)
    return batch


def url_of(batch):
    return f"/w/acme/batches/{batch.pk}/review/"


def look(cast, batch, name="bob"):
    response = cast.client(getattr(cast, name)).get(url_of(batch))
    assert response.status_code == 200
    return response.content.decode()


def words(page):
    return " ".join(unescape(strip_tags(page)).split())


def button(page):
    found = re.search(r'<button class="primary send"[^>]*>[^<]*', page)
    return found[0] if found else ""


def form_of(page, **changes):
    """What a browser would post for the page."""
    token = re.search(r'name="token" value="([^"]*)"', page)[1]
    sends = re.search(r'name="send" value="(\d+)"', page)
    fields = {"token": token, "name": "October", "labels": "", "rows": "all", "part_size": "0"}
    seen = re.search(r'name="seen" value="(\w+)"', page)
    fields |= {"seen": seen[1]} if seen else {}
    return fields | ({"send": sends[1]} if sends else {}) | changes


def press(cast, batch, who="bob", page=None, **changes):
    page = page or look(cast, batch, who)
    return cast.client(getattr(cast, who)).post(url_of(batch), form_of(page, **changes))


def save(cast, batch, htmx=True, **changes):
    data = {"name": "October", "rows": "all", "labels": "", "part_size": "0", **changes}
    headers = {"hx-request": "true"} if htmx else {}
    return cast.client(cast.bob).post(url_of(batch), data, headers=headers)


def test_it_works(cast, draft):
    page = look(cast, draft)
    assert 'value="reviews-october, claude-haiku-4-5"' in page
    assert "Send 1,200 requests" in button(page)
    assert "disabled" not in button(page)
    text = words(page)
    # 1,200 × (412 × $0.50 + 300 × $2.50) / M = $1.1472
    assert "At most $1.15, likely" in text
    assert "1,200 × up to 412 in × $0.50/M = $0.25" in text
    assert "10 parts of 120 (usual)" in text
    assert "1,200 ids, each one once" in text
    assert '"content": "Label word 0002"' in text
    assert "at the latest in 24 h" in text


def test_one_press_is_one_run(cast, draft):
    response = press(cast, draft, labels="q3, support, q3")
    assert response.headers["Location"] == f"/w/acme/batches/{draft.pk}/"
    run = draft.runs.get()
    assert (run.state, run.requested_by, run.recipe) == ("queued", cast.bob, RECIPE)
    assert run.selection == {}
    assert (run.estimate["requests"], run.estimate["parts"]) == (1_200, 10)
    assert (run.estimate["most"], run.estimate["api"]) == ("1.14720000", "claude")
    event = Event.objects.get(subject=f"batch:{draft.pk}", verb="run")
    assert event.sentence == "bob pressed Send 1,200 requests (at most $1.15)."
    assert event.actor == cast.bob
    draft.refresh_from_db()
    assert (draft.name, draft.labels, draft.state) == ("October", ["q3", "support"], "building")


def test_a_second_press_lands_on_the_same_run(cast, draft):
    page = look(cast, draft)
    assert press(cast, draft, page=page).status_code == 302
    # Twice, from another tab, by somebody else, and by the back button once it is built.
    for name in ("bob", "alice"):
        assert press(cast, draft, name, page=page).status_code == 302
    assert building.step(now())
    assert press(cast, draft, page=page).status_code == 302
    assert draft.runs.count() == 1


@pytest.mark.both_databases
@pytest.mark.django_db(transaction=True)
def test_two_at_once_are_one_run(cast, draft):
    page = look(cast, draft)
    barrier, answers = threading.Barrier(2), []

    def press_at_once(name):
        client = cast.client(getattr(cast, name))
        barrier.wait(5)
        answers.append(client.post(url_of(draft), form_of(page)).status_code)
        connection.close()

    threads = [threading.Thread(target=press_at_once, args=[name]) for name in ("bob", "alice")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [302, 302]
    assert draft.runs.count() == 1
    assert Event.objects.filter(subject=f"batch:{draft.pk}", verb="run").count() == 1


def test_what_is_chosen_changes_the_number_at_once(cast, draft):
    page = save(cast, draft, rows="first", first="10", typed_in="first").content.decode()
    assert "Send 10 requests" in button(page)
    assert "1 part of 10 (usual)" in page
    assert "At most $0.0096," in words(page)
    assert 'id="rows-first" name="rows" value="first" checked hx-swap-oob' in page
    draft.refresh_from_db()
    assert draft.selection == {"kind": "first", "count": 10}
    assert draft.saved_at is not None
    assert "Send 10 requests" in button(look(cast, draft))


def test_a_sample_stays_the_same_one(cast, draft):
    save(cast, draft, rows="sample", sample="20")
    draft.refresh_from_db()
    seed = draft.selection["seed"]
    save(cast, draft, rows="sample", sample="20", name="Renamed")
    draft.refresh_from_db()
    assert (draft.selection["seed"], draft.name) == (seed, "Renamed")


def test_parts(cast, draft):
    page = save(cast, draft, part_size="60").content.decode()
    assert '<option value="60" selected>20 parts of 60</option>' in page
    assert press(cast, draft, part_size="60").status_code == 302
    assert draft.runs.get().selection == {"part_size": 60}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": " "}, "Give it a name."),
        ({"name": "x" * 201}, "at most 200 characters"),
        ({"labels": ",".join(map(str, range(11)))}, "At most 10 labels."),
        ({"labels": "x" * 41}, "is longer than 40 characters."),
        ({"rows": "first", "first": ""}, "Write how many rows: a whole number from 1."),
        ({"rows": "first", "first": "0"}, "Write how many rows: a whole number from 1."),
        ({"rows": "sample", "sample": "-3"}, "Write how many rows: a whole number from 1."),
        ({"rows": "sample", "sample": "²"}, "Write how many rows: a whole number from 1."),
        ({"rows": "first", "first": "1201"}, "There are 1,200 rows to send."),
        ({"rows": "first", "first": "9" * 40}, "There are 1,200 rows to send."),
        ({"rows": "everything"}, "everything is not one of the available choices."),
        ({"part_size": "x"}, "Enter a whole number."),
    ],
)
def test_bad_input_is_said_at_its_place_and_kept(cast, draft, changes, sentence):
    response = press(cast, draft, **changes)
    assert response.status_code == 422
    assert sentence in words(response.content.decode())
    assert not draft.runs.exists()
    assert sentence in words(save(cast, draft, htmx=False, **changes).content.decode())
    while_typing = save(cast, draft, **changes)
    assert while_typing.status_code == 200
    assert "disabled" in button(while_typing.content.decode())
    draft.refresh_from_db()
    assert draft.selection == {}


def test_without_scripts_an_update_is_saved_and_shown(cast, draft):
    response = save(cast, draft, htmx=False, rows="first", first="10")
    assert response.headers["Location"] == url_of(draft)
    assert "Send 10 requests" in button(look(cast, draft))


def test_enter_presses_what_costs_nothing(cast, draft):
    page = look(cast, draft)
    first = re.search(r"<button(?![^>]*type=\"button\")[^>]*>", page.split('id="review"')[1])[0]
    assert 'name="save"' in first


def test_a_viewer_sees_all_of_it_and_no_button(cast, draft):
    page = look(cast, draft, "vera")
    assert "Only members can send. Ask alice or bob." in words(page)
    assert "At most $1.15" in words(page)
    assert button(page) == ""
    assert "<fieldset disabled>" in page
    data = form_of(look(cast, draft))
    assert cast.client(cast.vera).post(url_of(draft), data).status_code == 403
    assert cast.client(cast.charlie).post(url_of(draft), data).status_code == 404
    assert not draft.runs.exists()


def test_while_the_rows_are_checked(cast, worker):
    save_key(cast)
    draft = make_draft(cast)
    page = look(cast, draft)
    assert "disabled" in button(page)
    assert "Checking rows… 0 of 1,200" in words(page)
    assert "The rows are still being checked." in words(page)
    Estimate.objects.update(rows=64_000)
    client = cast.client(cast.vera)
    where, seen = re.search(
        r'hx-get="(/w/acme/[^"?]+live/)\?seen=(\w+)" hx-trigger="every 1s"', page
    ).groups()
    assert "Checking rows… 64,000" in words(client.get(where).content.decode())
    assert press(cast, draft, page=page + 'name="send" value="0"').status_code == 422
    check(draft)
    ready = client.get(where, {"seen": seen}).content.decode()
    assert "hx-trigger" not in ready
    assert 'id="free-rows" hx-swap-oob="true">1,200<' in ready


def test_nothing_is_asked_again_as_long_as_nothing_changed(cast, worker):
    draft = make_draft(cast)
    page = look(cast, draft, "vera")
    where = unescape(re.search(r'hx-get="([^"]+)"', page)[1])
    assert cast.client(cast.vera).get(where).status_code == 204


def test_rows_that_are_left_out_want_an_agreement(cast, worker):
    save_key(cast)
    draft = make_draft(cast, 20, broken=3, leave_out=2)
    check(draft)
    page = look(cast, draft)
    assert "Leave 3 rows out" in words(page)
    assert "3 rows cannot be sent. Agree to leave them out, or mend the file." in words(page)
    assert "disabled" in button(page)
    assert press(cast, draft, page=page).status_code == 422
    assert "disabled" not in button(save(cast, draft, leave_out=["0", "3"]).content.decode())
    draft.refresh_from_db()
    assert draft.leave_out == 3
    # And it can be taken back.
    assert "disabled" in button(save(cast, draft, leave_out="0").content.decode())
    assert press(cast, draft, leave_out=["0", "3"]).status_code == 302
    assert draft.runs.get().estimate["requests"] == 20


def test_rows_that_only_the_recipe_leaves_out_are_told_apart(cast, worker):
    draft = make_draft(cast, broken=2, recipe=RECIPE | {"id_column": "text"})
    broken = [archive.Row(number, reason=f"Row {number}: broken.") for number in (5, 6)]
    upload = build.make_upload(["text"], [*build.table_rows(["a"], ["b"], ["b"]), *broken])
    upload.workspace, upload.problems = cast.workspace, draft.upload.problems
    upload.save()
    draft.upload = upload
    draft.save()
    check(draft)
    text = words(look(cast, draft))
    assert "Leave 3 rows out" in text
    assert (
        "2 were agreed to on the file page. 1 more cannot be sent: "
        "row 4, column text: id b is in rows 3 and 4."
    ) in text


def test_what_the_file_page_has_asked_about_is_not_told_again(cast, worker):
    draft = make_draft(cast, 4, broken=1, leave_out=0)
    check(draft)
    assert "on the file page" not in words(look(cast, draft))


def test_lines_are_called_lines(cast, worker):
    lines = [archive.Row(1, own_id="a", params=msgspec.Raw(b'{"max_tokens":1}'))]
    upload = build.make_upload([], [*lines, archive.Row(2, reason="Line 2: broken.")])
    upload.workspace, upload.problems = cast.workspace, {"total": 1, "rows": 1}
    upload.save()
    draft = Batch.objects.create(workspace=cast.workspace, upload=upload, name="Lines")
    check(draft)
    text = words(look(cast, draft))
    assert "Leave 1 line out" in text
    assert "1 line is left out" in text
    assert "1 row" not in text


def test_a_press_on_what_is_not_ready_is_answered_with_the_reason(cast, worker):
    draft = make_draft(cast, 20, broken=1, leave_out=0)
    save_key(cast)
    check(draft)
    page = look(cast, draft)
    assert 'aria-disabled="true"' in button(page)
    assert " disabled" not in button(page), "as the other steps: it can be pressed and says why"
    answer = press(cast, draft, page=page)
    assert answer.status_code == 422
    assert "Nothing was sent 1 row cannot be sent. Agree to leave it out" in words(
        answer.content.decode()
    )


def test_no_key(cast, worker):
    draft = make_draft(cast)
    check(draft)
    page = look(cast, draft)
    assert "The workspace has no API key. Ask an owner." in words(page)
    assert '<a href="/w/acme/settings/key/">API key</a>' in look(cast, draft, "alice")
    assert press(cast, draft, page=page).status_code == 422


def test_a_refused_key(cast, draft):
    ApiKey.objects.update(refused="API key is invalid (401).", refused_type="key")
    text = words(look(cast, draft))
    assert "The API refuses this workspace's key: API key is invalid (401)." in text
    assert press(cast, draft).status_code == 422


def test_a_spend_limit_is_tried_again_by_the_press(cast, draft):
    ApiKey.objects.update(refused="The limit is reached.", refused_type=ApiKey.SPEND_LIMIT)
    assert "Raise the limit first" in words(look(cast, draft))
    assert press(cast, draft).status_code == 302
    assert ApiKey.objects.get().refused == ""


def test_no_worker(cast, draft, worker):
    assert "No worker" not in words(look(cast, draft))
    worker.delete()
    page = look(cast, draft)
    assert "No worker has been seen for 40 s." in words(page)
    assert "disabled" not in button(page)


def test_the_sandbox_bills_nothing(cast, worker):
    save_key(cast, "sandbox")
    draft = make_draft(cast)
    check(draft)
    text = words(look(cast, draft))
    assert "Nothing is billed: the sandbox answers." in text
    assert "With a real key at most $1.15, likely" in text
    assert "SANDBOX_URL is not set" in text


def test_a_price_that_is_not_known(cast, worker):
    save_key(cast)
    draft = make_draft(cast, recipe=RECIPE | {"model": "claude-x"})
    check(draft)
    text = words(look(cast, draft))
    assert "The price of claude-x is not known here, so neither is the cost." in text
    assert "Tokens: 494,400 in, at most 360,000 out." in text
    assert press(cast, draft).status_code == 302
    assert draft.runs.get().estimate["most"] is None
    assert "(cost not known)" in Event.objects.get(verb="run").sentence


def test_tokens_that_were_not_counted(cast, draft):
    findings = Estimate.objects.get().findings
    findings["groups"][0]["counted"] = []
    Estimate.objects.update(findings=findings, reason="The API is not reached.", due_at=now())
    page = look(cast, draft)
    assert "The tokens in are not counted. The API is not reached." in words(page)
    assert 'hx-trigger="every 10s"' in page


def test_a_twin_wants_a_second_word(cast, draft):
    twin = make_draft(cast, state="in_progress", name="The other")
    page = look(cast, draft)
    assert f"#{twin.pk} The other" in words(page)
    assert "disabled" in button(page)
    assert press(cast, draft, page=page).status_code == 422
    assert "disabled" not in button(save(cast, draft, again="1").content.decode())
    # Without scripts the word is kept in the address.
    where = save(cast, draft, htmx=False, again="1").headers["Location"]
    assert "disabled" not in button(cast.client(cast.bob).get(where).content.decode())
    assert press(cast, draft, page=page, again="1").status_code == 302


def test_a_viewer_is_not_told_to_agree(cast, worker):
    save_key(cast)
    draft = make_draft(cast, rows=20, broken=2, leave_out=0)
    check(draft)
    twin = make_draft(cast, state="in_progress")
    members, viewers = (words(look(cast, draft, name)) for name in ("bob", "vera"))
    assert "2 rows cannot be sent. Agree to leave them out, or mend the file." in members
    assert f"#{twin.pk} sends the same. Agree to pay twice, or open that one." in members
    assert "2 rows cannot be sent." in viewers
    assert f"#{twin.pk} sends the same." in viewers
    assert "Agree" not in viewers


def test_the_number_in_the_button_is_what_is_sent(cast, draft):
    page = look(cast, draft)
    save(cast, draft, rows="first", first="10")
    response = press(cast, draft, page=page, rows="first", first="10")
    assert response.status_code == 422
    assert "It is 10 requests by now." in words(response.content.decode())
    assert not draft.runs.exists()


def test_a_recipe_that_was_changed_since_is_not_sent(cast, draft):
    page = look(cast, draft)
    Batch.objects.update(recipe=RECIPE | {"max_tokens": 64_000})
    response = press(cast, draft, page=page)
    assert response.status_code == 422
    assert "The rows are still being checked." in words(response.content.decode())
    assert not draft.runs.exists()


@pytest.mark.parametrize("change", ["recipe", "key"])
def test_what_was_changed_and_checked_since_is_not_sent(cast, draft, change):
    """The page still shows the price of before, and the number of rows is the same."""
    page = look(cast, draft)
    if change == "recipe":
        Batch.objects.update(recipe=RECIPE | {"model": "claude-opus-4-8"})
    else:
        save_key_anew(cast.workspace, "claude", "sk-ant-three-four")
    draft = Batch.objects.get()
    check(draft)
    response = press(cast, draft, page=page)
    assert response.status_code == 422
    again = response.content.decode()
    assert "The file, the recipe or the key was changed." in words(again)
    assert not draft.runs.exists()
    assert press(cast, draft, page=again).status_code == 302


def test_who_still_chooses_is_led_to_what_another_has_sent(cast, draft):
    assert press(cast, draft).status_code == 302
    response = save(cast, draft, rows="first", first="10")
    overview = f"/w/acme/batches/{draft.pk}/"
    assert (response.status_code, response.headers["HX-Redirect"]) == (200, overview)
    assert save(cast, draft, htmx=False).headers["Location"] == overview


@pytest.mark.both_databases
@pytest.mark.parametrize("number", [2**31, 2**63, 10**30, -1])
def test_a_number_of_rows_that_no_file_has(cast, draft, number):
    assert press(cast, draft, leave_out=number).status_code == 422
    assert not draft.runs.exists()


@pytest.mark.parametrize("token", ["", "after-99", "x" * 100])
def test_a_token_of_no_page(cast, draft, token):
    assert press(cast, draft, token=token).status_code == 422
    assert not draft.runs.exists()


def test_a_broken_recipe_leads_back(cast, worker):
    save_key(cast)
    draft = make_draft(cast, recipe=RECIPE | {"prompt": "{{citty}}"})
    estimating.ask(draft, now())
    assert estimating.step(now())
    page = look(cast, draft)
    assert "{{citty}}: no such column." in words(page)
    assert f'<a href="/w/acme/batches/{draft.pk}/recipe/">Recipe</a>' in page
    assert "disabled" in button(page)


def test_a_secret_is_named_and_never_shown(cast, worker):
    save_key(cast)
    draft = make_draft(cast, 3)
    rows = [archive.Row(2, cells=["fine"]), archive.Row(4, cells=["sk-ant-api03-" + "a" * 24])]
    upload = build.make_upload(["text"], rows)
    upload.workspace = cast.workspace
    upload.save()
    Batch.objects.filter(pk=draft.pk).update(upload=upload)
    draft.refresh_from_db()
    check(draft)
    page = look(cast, draft)
    assert "Row 4 looks like it holds a secret (sk-ant-…) Show it" in words(page)
    assert "aaaa" not in page


def test_the_rest_of_a_batch(cast, draft):
    press(cast, draft, page=look(cast, draft), rows="first", first="1200")
    assert cast.client(cast.bob).get(url_of(draft)).status_code == 302
    Run.objects.all().delete()
    save(cast, draft, rows="first", first="10")
    press(cast, draft, rows="first", first="10")
    assert building.step(now())
    page = look(cast, draft)
    assert "The rest, 1,190" in words(page)
    assert "Send 1,190 requests" in button(page)
    assert press(cast, draft, page=page).status_code == 302
    assert building.step(now())
    draft.refresh_from_db()
    assert draft.sent == 1_200
    assert draft.runs.last().selection == {"kind": "rest"}
    # Nothing is left.
    assert cast.client(cast.bob).get(url_of(draft)).headers["Location"].endswith(f"/{draft.pk}/")


@pytest.mark.parametrize(
    ("fields", "place"),
    [({"upload": None}, "file"), ({"recipe": {}}, "recipe"), ({"recipe": {"model": ""}}, "recipe")],
)
def test_what_is_not_ready_leads_to_what_is_missing(cast, fields, place):
    draft = make_draft(cast, 1)
    Batch.objects.filter(pk=draft.pk).update(**fields)
    response = cast.client(cast.bob).get(url_of(draft))
    assert response.headers["Location"] == f"/w/acme/batches/{draft.pk}/{place}/"
    assert cast.client(cast.bob).get(url_of(draft) + "live/").status_code == 204


def test_what_people_wrote_is_text(cast, draft):
    Batch.objects.update(name="<img src=x>", labels=["<b>"], recipe=RECIPE | {"model": "<i>x</i>"})
    draft.refresh_from_db()
    check(draft)
    page = look(cast, draft)
    assert "<img src" not in page
    assert "<i>x" not in page
    assert "&lt;img src=x&gt;" in page


def test_in_a_browser(page, site, cast, draft):
    """Rows change the button at once; a double click is one Run."""
    session = cast.client(cast.bob).cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": session, "url": site.url}])
    page.goto(url_of(draft))
    send = page.locator("button.send")
    assert send.inner_text() == "Send 1,200 requests"
    page.fill("#id_first", "25")
    page.get_by_role("button", name="Send 25 requests").wait_for()
    assert page.locator("#rows-first").is_checked()
    assert page.evaluate("document.activeElement.id") == "id_first"
    page.fill("#id_first", "2500")
    page.get_by_text("There are 1,200 rows to send.").wait_for()
    assert send.is_disabled()
    page.check("#rows-all")
    page.get_by_role("button", name="Send 1,200 requests").wait_for()
    page.select_option("#id_part_size", label="5 parts of 240")
    wait_until(lambda: Batch.objects.get().selection == {"part_size": 240})
    page.get_by_role("button", name="Send 1,200 requests").dblclick()
    page.wait_for_url(f"**/batches/{draft.pk}/")
    assert draft.runs.count() == 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
