import re
from datetime import timedelta
from html import unescape

import pytest
from django.utils.html import strip_tags

from batches.models import Batch, MessageBatch
from leases.clock import database_now
from tests.batches.stage import make_batch, make_part
from tests.cast import Cast
from workspaces.models import Event


def an_ended_batch(cast: Cast) -> Batch:
    batch = make_batch(cast.workspace, ["x"] * 5)
    make_part(batch, 5, "stored", processing_status="ended", answers={"succeeded": 4, "errored": 1})
    Batch.objects.filter(pk=batch.pk).update(rows=5)
    batch.refresh_from_db()
    return batch


def address(batch: Batch) -> str:
    return f"/w/acme/batches/{batch.pk}/delete/"


def text_of(cast: Cast, batch: Batch) -> str:
    page = cast.client(cast.bob).get(address(batch)).content.decode()
    return " ".join(unescape(strip_tags(page)).split())


def is_there(batch: Batch) -> bool:
    return Batch.objects.filter(pk=batch.pk, deleting_at=None).exists()


def test_it_is_gone_at_once(cast: Cast) -> None:
    batch = an_ended_batch(cast)
    client = cast.client(cast.bob)
    response = client.post(address(batch), {"confirm": str(batch.pk)}, follow=True)
    assert response.redirect_chain == [("/w/acme/batches/", 302)]
    page = response.content.decode()
    assert f"Themes (#{batch.pk}) is deleted." in page
    assert f'href="/w/acme/batches/{batch.pk}/"' not in page
    assert client.get(f"/w/acme/batches/{batch.pk}/").status_code == 404
    event = Event.objects.get(verb="deleted")
    said = f"#{batch.pk} Themes was deleted: 5 requests in 1 part."
    assert (event.actor, event.sentence) == (cast.bob, said)


def test_it_says_in_numbers_what_goes(cast: Cast) -> None:
    batch = an_ended_batch(cast)
    text = text_of(cast, batch)
    assert "5 answers, their requests and its history go for good" in text
    assert "and with them the file rows.csv with 5 rows." in text
    assert "The API has nothing of it any more." in text
    make_other = Batch.objects.create(workspace=cast.workspace, upload=batch.upload, name="Other")
    assert "the file rows.csv" not in text_of(cast, batch)
    assert "the file rows.csv" not in text_of(cast, make_other)


@pytest.mark.parametrize("typed", ["", "delete", "0", "²"])
def test_what_was_sent_goes_only_when_its_number_is_typed(cast: Cast, typed: str) -> None:
    batch = an_ended_batch(cast)
    response = cast.client(cast.bob).post(address(batch), {"confirm": typed})
    assert response.status_code == 422
    assert f"Type {batch.pk} to delete it." in response.content.decode()
    assert is_there(batch)


def at_the_api(batch: Batch, **fields: object) -> MessageBatch:
    """Its part, as it lies at the API since three days."""
    known = {"message_batch_id": "msgbatch_1", "created_at": database_now() - timedelta(days=3)}
    batch.message_batches.update(**{**known, "due_at": None, **fields})
    return MessageBatch.objects.get(batch=batch)


def remote_box(cast: Cast, batch: Batch) -> str:
    page = cast.client(cast.bob).get(address(batch)).content.decode()
    found = re.search(r'<input type="checkbox" name="remote"[^>]*>', page)
    return found[0] if found else ""


def test_the_copy_at_the_api_goes_too_unless_somebody_unticks_it(cast: Cast) -> None:
    batch = an_ended_batch(cast)
    at_the_api(batch)
    assert " checked" in remote_box(cast, batch)
    until = f"{database_now() + timedelta(days=26):%-d %b}"
    said = f"Otherwise the API keeps requests and answers of 1 part until {until}"
    assert said in text_of(cast, batch)
    client = cast.client(cast.bob)
    # What was unticked stays so where the number was wrong.
    page = client.post(address(batch), {"confirm": "x"}).content.decode()
    assert 'name="remote" value="1">' in page
    client.post(address(batch), {"confirm": str(batch.pk), "remote": "1"})
    batch.refresh_from_db()
    assert batch.delete_remote
    assert Event.objects.get(verb="deleted").sentence.endswith("in 1 part; at the API too.")


def test_unticked_the_copy_at_the_api_stays(cast: Cast) -> None:
    batch = an_ended_batch(cast)
    at_the_api(batch)
    cast.client(cast.bob).post(address(batch), {"confirm": str(batch.pk)})
    batch.refresh_from_db()
    assert (batch.deleting_at is None, batch.delete_remote) == (False, False)


def test_what_a_script_made_is_left_at_the_api_unless_ticked(cast: Cast) -> None:
    batch = an_ended_batch(cast)
    at_the_api(batch, run=None)
    assert remote_box(cast, batch)
    assert " checked" not in remote_box(cast, batch)


def test_answers_that_are_not_here_are_given_up_by_their_number(cast: Cast) -> None:
    batch = an_ended_batch(cast)
    at_the_api(batch, state="incomplete", answers={"succeeded": 2})
    batch.recount()
    text = text_of(cast, batch)
    assert "3 answers of 1 part are not here yet. What of them succeeded is billed" in text
    assert "Type 3 to give these answers up" in text
    client = cast.client(cast.bob)
    response = client.post(address(batch), {"confirm": str(batch.pk)})
    assert (response.status_code, is_there(batch)) == (422, True) or batch.pk == 3
    assert client.post(address(batch), {"confirm": "3"}).status_code == 302
    assert not is_there(batch)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("unknown", "Part 1 comes first We do not know whether part 1 was created."),
        ("sending", "A part is being sent Only when the API has answered"),
    ],
)
def test_what_may_be_at_the_api_unknown_to_us_comes_first(
    cast: Cast, state: str, said: str
) -> None:
    batch = make_batch(cast.workspace, ["one"])
    make_part(batch, 1, state)
    assert said in text_of(cast, batch)
    response = cast.client(cast.bob).post(address(batch), {"confirm": str(batch.pk)})
    assert response.status_code == 422
    assert is_there(batch)


def test_a_draft_goes_without_typing(cast: Cast) -> None:
    batch = make_batch(cast.workspace, ["one"])
    assert "Type" not in text_of(cast, batch)
    assert cast.client(cast.bob).post(address(batch)).status_code == 302
    assert not is_there(batch)


def test_what_runs_is_canceled_first(cast: Cast) -> None:
    batch = make_batch(cast.workspace, ["one"])
    make_part(batch, 1, "submitted", processing_status="in_progress")
    assert f"Cancel #{batch.pk} first" in text_of(cast, batch)
    response = cast.client(cast.bob).post(address(batch), {"confirm": str(batch.pk)})
    assert response.status_code == 422
    assert is_there(batch)


def test_a_second_press_finds_nothing(cast: Cast) -> None:
    batch = an_ended_batch(cast)
    client = cast.client(cast.bob)
    client.post(address(batch), {"confirm": str(batch.pk)})
    assert client.post(address(batch), {"confirm": str(batch.pk)}).status_code == 404
    assert Event.objects.filter(verb="deleted").count() == 1


def test_viewers_and_strangers_delete_nothing(cast: Cast) -> None:
    batch = an_ended_batch(cast)
    for person, status in ((cast.vera, 403), (cast.charlie, 404)):
        response = cast.client(person).post(address(batch), {"confirm": str(batch.pk)})
        assert response.status_code == status
    assert is_there(batch)
