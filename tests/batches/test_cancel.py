from html import unescape

from django.utils.html import strip_tags

from batches.models import Batch
from tests.batches.stage import make_batch, make_part, now
from tests.cast import Cast
from workspaces.models import Event

HTMX = {"headers": {"HX-Request": "true"}}


def a_running_batch(cast: Cast) -> Batch:
    """One part has ended, one is at the API, one waits to be sent."""
    batch = make_batch(cast.workspace, ["x"] * 12)
    make_part(batch, 5, "stored", processing_status="ended", answers={"succeeded": 5})
    make_part(batch, 4, "submitted", processing_status="in_progress")
    make_part(batch, 3, "queued")
    batch.refresh_from_db()
    return batch


def address(batch: Batch) -> str:
    return f"/w/acme/batches/{batch.pk}/cancel/"


def text_of(cast: Cast, batch: Batch) -> str:
    page = cast.client(cast.bob).get(address(batch)).content.decode()
    return " ".join(unescape(strip_tags(page)).split())


def test_it_cancels_what_has_not_ended(cast: Cast) -> None:
    batch = a_running_batch(cast)
    response = cast.client(cast.bob).post(address(batch))
    assert response.headers["Location"] == f"/w/acme/batches/{batch.pk}/"
    states = list(batch.message_batches.order_by("part").values_list("state", flat=True))
    assert states == ["stored", "submitted", "dropped"]
    batch.refresh_from_db()
    assert batch.state == "canceling"
    assert Event.objects.get(verb="cancel").actor == cast.bob


def test_it_says_in_numbers_what_that_means(cast: Cast) -> None:
    text = text_of(cast, a_running_batch(cast))
    assert "Cancel 2 parts that have not ended?" in text
    assert "7 requests are in them." in text
    assert "1 part that ended keeps its results and stays billed." in text
    assert "Rows not yet answered come back as canceled and are not billed." in text
    assert "1 of the parts is not sent yet and will not be." in text
    assert "Keep it running Cancel the batch" in text


def test_htmx_gets_the_dialog_alone(cast: Cast) -> None:
    page = cast.client(cast.bob).get(address(a_running_batch(cast)), **HTMX).content.decode()
    assert "<html" not in page
    assert "Keep it running" in page


def test_before_it_is_built_nothing_was_sent(cast: Cast) -> None:
    batch = make_batch(cast.workspace, ["one"])
    batch.runs.create(token="t", recipe={}, state="queued", due_at=now())
    batch.recount()
    assert "Nothing of it was sent yet, so nothing is billed." in text_of(cast, batch)
    cast.client(cast.bob).post(address(batch))
    assert batch.runs.get().reason == "Canceled before it was built."


def test_what_has_ended_is_not_canceled(cast: Cast) -> None:
    batch = make_batch(cast.workspace, ["one"])
    make_part(batch, 1, "stored", processing_status="ended", answers={"succeeded": 1})
    assert "Nothing is left to cancel" in text_of(cast, batch)
    cast.client(cast.bob).post(address(batch))
    batch.refresh_from_db()
    assert batch.state == "ended"
    assert not Event.objects.filter(verb="cancel").exists()


def test_what_waits_for_somebody_and_does_not_run_is_said(cast: Cast) -> None:
    batch = make_batch(cast.workspace, ["one"])
    found = [{"id": "msgbatch_1", "ours": True, "processing_status": "ended"}]
    make_part(batch, 1, "dropped", unknown_at=now(), candidates=found)
    said = f"Nothing is left to cancel Nothing of #{batch.pk} runs: it waits for somebody."
    assert said in text_of(cast, batch)


def test_viewers_and_strangers_cancel_nothing(cast: Cast) -> None:
    batch = a_running_batch(cast)
    assert cast.client(cast.vera).post(address(batch)).status_code == 403
    assert cast.client(cast.charlie).post(address(batch)).status_code == 404
    assert not batch.message_batches.exclude(cancel_requested_at=None).exists()
