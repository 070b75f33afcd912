import re
import threading
from html import unescape

import msgspec
import pytest
from django.db import connection
from django.utils.html import strip_tags

from batches import building, estimating
from batches.models import Batch, Estimate, Result, Run, Worker
from tests.batches.answers import BUSY, CUT, EXPIRED, WRONG, add_part, answered, move_in
from tests.batches.build import succeeded
from tests.batches.stage import now, rows_of
from workspaces.models import ApiKey, Event

HTMX = {"HX-Request": "true", "HX-Target": "dialog"}
ANSWERS = {2: succeeded("fine"), 3: BUSY, 4: EXPIRED, 5: WRONG, 6: CUT}
COUNTED = 412


@pytest.fixture
def batch(cast):
    move_in(cast)
    Worker.objects.create(host="web-1", pid=1, seen_at=now())
    ApiKey.seal(cast.workspace, "claude", "sk-ant-one-two")
    batch = answered(ANSWERS)
    batch.recipe = {**batch.recipe, "max_tokens": 300}
    batch.save()
    batch.runs.update(recipe=batch.recipe)
    return batch


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


def url(batch, query=""):
    return f"/w/team/batches/{batch.pk}/retry/{query}"


def look(cast, batch, query, name="bob", **options):
    response = cast.client(getattr(cast, name)).get(url(batch, query), **options)
    assert response.status_code == 200
    return response.content.decode()


def words(page):
    return " ".join(unescape(strip_tags(page.split("<form", 1)[1])).split())


def fields(page):
    """What a browser would send of the form."""
    form = page.split('id="retry"', 1)[1]
    found = {}
    for tag in re.findall(r"<input [^>]*>", form):
        name, value = (re.search(f'{one}="([^"]*)"', tag) for one in ("name", "value"))
        found.setdefault(name[1], []).append(unescape(value[1]))
    return found


def press(cast, batch, page, name="bob", **changes):
    data = fields(page) | changes
    return cast.client(getattr(cast, name)).post(url(batch), data)


def test_rows_are_retried_as_they_are(cast, batch):
    check(batch)
    page = look(cast, batch, "?type=expired&error=overloaded_error")
    said = words(page)
    assert "Retry 2 rows?" in said
    assert "1 expired" in said
    assert "1 overloaded_error" in said
    # 2 × (412 × $0.50 + 300 × $2.50) / M
    assert re.search(r"Retry 2 rows, at most \$0\.002\d? ", said)
    response = press(cast, batch, page)
    assert response.headers["Location"] == f"/w/team/batches/{batch.pk}/"
    run = batch.runs.get(state="queued")
    assert (run.requested_by, run.recipe) == (cast.bob, batch.recipe)
    assert (run.estimate["requests"], run.estimate["api"]) == (2, "claude")
    assert building.step(now(), only=batch)
    assert rows_of(run.message_batches.get()) == [3, 4]
    event = Event.objects.get(verb="run")
    assert event.sentence.startswith("bob pressed Retry 2 rows (at most $0.00")
    assert event.actor == cast.bob


def test_htmx_gets_the_dialog_alone(cast, batch):
    page = look(cast, batch, "?type=expired", headers=HTMX)
    assert "<html" not in page
    assert "Retry 1 row?" in words(page)


def test_cut_off_answers_need_more_tokens_and_get_a_suggestion(cast, batch):
    check(batch)
    page = look(cast, batch, "?stop=max_tokens")
    assert fields(page)["max_tokens"] == ["1200"]
    said = words(page)
    assert "Sent with 300" in said
    assert "1 was answered before: what that cost stays, and the new answer is billed, too." in said
    cheap = look(cast, batch, "?stop=max_tokens&max_tokens=301")
    assert price(page) > price(cheap)
    assert press(cast, batch, page).status_code == 302
    run = batch.runs.get(state="queued")
    assert run.recipe["max_tokens"] == 1_200
    batch.refresh_from_db()
    assert batch.recipe["max_tokens"] == 300
    assert "max tokens 300 → 1,200" in Event.objects.get(verb="run").sentence


def price(page):
    return float(re.search(r"at most \$([\d.]+)", words(page))[1])


def test_as_they_were_sent_cut_off_answers_stay(cast, batch):
    page = look(cast, batch, "?stop=max_tokens&max_tokens=300")
    assert "1 row stays as it is (cut off at max_tokens)" in words(page)
    assert press(cast, batch, page).status_code == 422
    assert not batch.runs.filter(state="queued").exists()


@pytest.mark.parametrize("typed", ["", "no", "0", "-5", "1e9", "99999999999999999999", "12", "ü"])
def test_a_wrong_number_is_said_at_its_place(cast, batch, typed):
    page = look(cast, batch, "?stop=max_tokens")
    response = press(cast, batch, page, max_tokens=typed)
    assert response.status_code == 422
    body = response.content.decode()
    assert f'value="{typed}"' in body
    assert re.search(r'id="retry-problems"><p class="error">', body)
    assert not batch.runs.filter(state="queued").exists()


def test_what_is_wrong_as_it_is_waits_for_another_recipe(cast, batch):
    page = look(cast, batch, "?error=invalid_request_error")
    said = words(page)
    assert "Nothing here can be retried as it is" in said
    assert "1 row stays as it is (invalid_request_error): unchanged it would fail again." in said
    assert "disabled>Retry</button>" in page
    editor = re.search(r'href="([^"]*retry/recipe/[^"]*)"', page)[1]
    edited = cast.client(cast.bob).get(unescape(editor), follow=True).content.decode()
    assert "Continue to the retry" in edited
    assert 'name="row" inputmode="numeric" size="7" value="5"' in edited
    assert "Identify rows by" not in edited
    data = {"to": "error=invalid_request_error", "model": "claude-haiku-4-5", "max_tokens": "300"}
    there = f"/w/team/batches/{batch.pk}/retry/recipe/"
    response = cast.client(cast.bob).post(there, data | {"prompt": "Say {{text}}"})
    assert response.status_code == 302
    page = cast.client(cast.bob).get(response.headers["Location"]).content.decode()
    assert "With the edited recipe." in words(page)
    assert press(cast, batch, page).status_code == 302
    run = batch.runs.get(state="queued")
    assert (run.recipe["prompt"], run.recipe["id_column"]) == ("Say {{text}}", "id")
    batch.refresh_from_db()
    assert (batch.recipe["prompt"], batch.typed) == ("Label {{text}}", {})
    tab = cast.client(cast.vera).get(f"/w/team/batches/{batch.pk}/recipe/").content.decode()
    assert "Label <mark>text</mark>" in tab
    said = " ".join(strip_tags(tab).split())
    assert re.search("Retried with another recipe bob, .* ago: Prompt ", said)
    assert "Say {{text}}" in said


def test_an_edited_recipe_with_problems_is_kept_as_typed(cast, batch):
    data = {"to": "type=expired", "model": "claude-haiku-4-5", "max_tokens": "300"}
    there = f"/w/team/batches/{batch.pk}/retry/recipe/"
    response = cast.client(cast.bob).post(there, data | {"prompt": "Say {{txt}}"})
    assert response.status_code == 422
    body = response.content.decode()
    assert "1 thing to mend before the retry" in body
    assert "Say {{txt}}" in unescape(body)
    batch.refresh_from_db()
    assert batch.typed == {}


def test_the_editor_shows_a_row_without_saving_it(cast, batch):
    data = {"to": "type=expired", "model": "claude-haiku-4-5", "max_tokens": "300"}
    there = f"/w/team/batches/{batch.pk}/retry/recipe/"
    post = cast.client(cast.bob).post
    response = post(there, data | {"prompt": "Say {{text}}", "row": "4"}, headers=HTMX)
    assert "text 4" in response.content.decode()
    batch.refresh_from_db()
    assert batch.typed == {}


def test_an_edit_by_somebody_else_is_looked_at_first(cast, batch):
    batch.typed = {"retry": {**batch.recipe, "prompt": "Say {{text}}"}}
    batch.save()
    page = look(cast, batch, "?type=expired&recipe=edited")
    batch.typed = {"retry": {**batch.recipe, "prompt": "Shout {{text}}"}}
    batch.save()
    response = press(cast, batch, page)
    assert response.status_code == 422
    assert "The recipe was edited meanwhile." in response.content.decode()


def test_a_plain_success_is_said_to_stay(cast, batch):
    page = look(cast, batch, "?row=2&row=4")
    said = words(page)
    assert "Retry 1 row?" in said
    assert "1 row stays as it is: it succeeded, and is not sent again" in said
    press(cast, batch, page)
    assert building.step(now(), only=batch)
    assert not Result.objects.get(row=2).retried_in_id


def test_a_second_press_lands_on_the_same_run(cast, batch):
    page = look(cast, batch, "?type=expired")
    for name in ("bob", "alice", "bob"):
        response = press(cast, batch, page, name)
        assert response.headers["Location"] == f"/w/team/batches/{batch.pk}/"
    assert batch.runs.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_people_press_at_once(cast, batch):
    page, found = look(cast, batch, "?type=expired"), []

    def press_once(name):
        try:
            found.append(press(cast, batch, page, name).status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=press_once, args=[name]) for name in ("alice", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [302, 302]
    assert batch.runs.count() == 2


def test_while_a_run_is_built_it_says_so(cast, batch):
    page = look(cast, batch, "?type=expired")
    press(cast, batch, page)
    again = look(cast, batch, "?type=expired")
    assert "A run of this batch is being built." in words(again)
    assert press(cast, batch, again).status_code == 422
    assert batch.runs.count() == 2


def test_other_rows_than_were_shown_are_not_sent(cast, batch):
    page = look(cast, batch, "?type=expired")
    response = press(cast, batch, page, requests="7")
    assert response.status_code == 422
    assert "It is 1 row by now." in response.content.decode()


def test_what_turned_up_is_decided_before_its_rows_are_sent_again(cast, batch):
    part = add_part(batch, [7, 8], state="dropped")
    found = {"id": "msgbatch_1", "ours": True, "size": 2, "processing_status": "ended"}
    batch.message_batches.filter(pk=part.pk).update(candidates=[found])
    Batch.objects.update(rows=7)
    page = look(cast, batch, "?type=not_sent")
    said = "A batch of part 2 turned up at the API. Say first what becomes of it. Overview"
    assert said in words(page)
    assert press(cast, batch, page).status_code == 422
    assert "turned up" not in look(cast, batch, "?type=expired")
    review = cast.client(cast.bob).get(f"/w/team/batches/{batch.pk}/review/")
    assert said in " ".join(unescape(strip_tags(review.content.decode())).split())


@pytest.mark.parametrize("query", ["", "?row=x", "?row=0&row=99999999999", "?type=%00", "?type=🙂"])
def test_a_strange_selection_takes_nothing(cast, batch, query):
    page = look(cast, batch, query)
    assert "No row is left to send." in words(page)
    assert press(cast, batch, page).status_code == 422


def test_rows_of_a_part_that_was_given_up_may_be_billed_twice(cast, batch):
    part = add_part(batch, [7, 8], state="dropped")
    maybe, earlier = "without knowing whether it was created", "keeps its earlier answer"
    said = words(look(cast, batch, "?type=not_sent"))
    assert "2 not sent" in said
    assert (maybe in said, earlier in said) == (False, False)
    batch.message_batches.filter(pk=part.pk).update(unknown_at=now())
    for query, expected in (
        ("?type=not_sent", (True, False)),
        ("?row=7", (True, False)),
        ("?row=4", (False, True)),
        ("?type=expired", (False, True)),
        ("?type=expired&type=not_sent", (True, True)),
    ):
        said = words(look(cast, batch, query))
        assert (maybe in said, earlier in said) == expected, query


def test_without_a_key_nothing_goes(cast, batch):
    ApiKey.objects.update(retired_at=now())
    page = look(cast, batch, "?type=expired")
    assert "The workspace has no API key." in words(page)
    assert press(cast, batch, page).status_code == 422


def test_the_sandbox_bills_nothing(cast, batch):
    ApiKey.objects.all().delete()
    ApiKey.seal(cast.workspace, "sandbox", "sk-ant-scripted-key")
    assert "nothing is billed" in words(look(cast, batch, "?type=expired"))


def test_who_may(cast, batch):
    for name, status in (("vera", 403), ("charlie", 404)):
        client = cast.client(getattr(cast, name))
        assert client.get(url(batch)).status_code == status
        assert client.post(url(batch), {"type": "expired"}).status_code == status
    assert Run.objects.count() == 1


def test_of_a_draft_nothing_is_retried(cast, batch):
    draft = Batch.objects.create(workspace=cast.workspace, upload=batch.upload, name="Draft")
    response = cast.client(cast.bob).get(url(draft))
    assert response.headers["Location"] == f"/w/team/batches/{draft.pk}/recipe/"
