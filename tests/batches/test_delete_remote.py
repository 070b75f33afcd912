from datetime import timedelta

from django.test import Client

from batches.models import Batch, MessageBatch
from leases.clock import database_now
from tests.batches.stage import make_batch, make_part
from tests.cast import Cast
from tests.streaming.pages import words
from workspaces.models import Event


def an_ended_batch(cast: Cast, **fields: object) -> Batch:
    batch = make_batch(cast.workspace, ["x"] * 5)
    known = {
        "message_batch_id": "msgbatch_1",
        "processing_status": "ended",
        "created_at": database_now() - timedelta(days=3),
        "answers": {"succeeded": 5},
        "due_at": None,
    }
    make_part(batch, 5, **{"state": "stored", **known, **fields})
    batch.refresh_from_db()
    return batch


def address(batch: Batch) -> str:
    return f"/w/acme/batches/{batch.pk}/delete/remote/"


def ask(client: Client, batch: Batch) -> str:
    return words(client.get(address(batch)))


def test_the_api_is_to_forget_what_is_here(cast: Cast) -> None:
    batch = an_ended_batch(cast)
    client = cast.client(cast.bob)
    assert "Delete Themes at the API only?" in ask(client, batch)
    until = f"{database_now() + timedelta(days=26):%-d %b}"
    assert f"of 1 part, which it would keep until {until}" in ask(client, batch)
    response = client.post(address(batch), follow=True)
    assert response.redirect_chain == [(f"/w/acme/batches/{batch.pk}/", 302)]
    assert "Being deleted at the API: 1 part of Themes." in words(response)
    assert MessageBatch.objects.get().due_at is not None
    batch.refresh_from_db()
    assert (batch.delete_remote, batch.deleting_at) == (True, None)
    assert Event.objects.get(verb="delete_remote").actor == cast.bob
    assert "1 part of #" in ask(client, batch)
    assert "is being deleted at the API" in ask(client, batch)
    assert client.post(address(batch)).status_code == 422, "asked for already"


def test_its_part_says_when_it_was_deleted_there(cast: Cast) -> None:
    batch = an_ended_batch(cast, stored_at=database_now())
    client, page = cast.client(cast.vera), f"/w/acme/batches/{batch.pk}/"
    assert "Deleted at the API" not in words(client.get(page))
    MessageBatch.objects.update(delete_requested_at=database_now())
    assert "Deleted at the APInot yet" in words(client.get(page))
    MessageBatch.objects.update(deleted_at=database_now())
    assert f"Deleted at the API{database_now():%Y-%m-%d}" in words(client.get(page))


def test_the_dialog_that_deletes_leads_here(cast: Cast) -> None:
    batch = an_ended_batch(cast)
    page = cast.client(cast.bob).get(f"/w/acme/batches/{batch.pk}/delete/").content.decode()
    assert f'href="{address(batch)}"' in page


def test_what_has_not_ended_is_fetched_first(cast: Cast) -> None:
    batch = an_ended_batch(cast, state="incomplete")
    client = cast.client(cast.bob)
    assert "has not ended" in ask(client, batch)
    assert client.post(address(batch)).status_code == 422
    assert MessageBatch.objects.get().due_at is None


def test_what_is_gone_there_is_not_asked_for(cast: Cast) -> None:
    batch = an_ended_batch(cast, deleted_at=database_now())
    client = cast.client(cast.bob)
    assert "Nothing is left at the API" in ask(client, batch)
    assert client.post(address(batch)).status_code == 422
    assert not Event.objects.filter(verb="delete_remote").exists()


def test_viewers_and_strangers_ask_for_nothing(cast: Cast) -> None:
    batch = an_ended_batch(cast)
    for person, status in ((cast.vera, 403), (cast.charlie, 404)):
        assert cast.client(person).post(address(batch)).status_code == status
    assert MessageBatch.objects.get().due_at is None
