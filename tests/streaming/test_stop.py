import pytest

from streaming.models import Turn
from tests.cast import Cast
from tests.processes import Sandbox
from tests.streaming.conftest import all_written
from tests.streaming.pages import address, begin, ended, page_of
from tests.streaming.test_conversation import FORM
from tests.streaming.turns import make_turn, set_pace


def test_it_asks_the_writer_to_stop(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    turn = make_turn(conversation)
    response = cast.client(cast.bob).post(address(conversation, f"turns/{turn.pk}/stop/"))
    assert response.status_code == 302
    turn.refresh_from_db()
    assert turn.stop_requested_at is not None
    assert turn.stop_requested_by == cast.bob


def test_what_has_ended_stays_as_it_is(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    turn = ended(conversation)
    cast.client(cast.bob).post(address(conversation, f"turns/{turn.pk}/stop/"))
    turn.refresh_from_db()
    assert (turn.state, turn.stop_requested_at) == (Turn.State.DONE, None)


def test_it_says_who_stopped_it(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    ended(conversation, state=Turn.State.STOPPED, stop_reason="", stop_requested_by=cast.bob)
    assert "Stopped by bob. Continue" in page_of(cast, conversation)


@pytest.mark.django_db(transaction=True)
async def test_what_came_is_kept(cast: Cast, sign_in, sandbox: Sandbox, key: str) -> None:
    set_pace(sandbox, key, 10)
    client = await sign_in(cast.bob)
    await client.post("/w/acme/conversations/new/", FORM)
    turn = await Turn.objects.select_related("conversation__workspace").aget()
    place = address(turn.conversation, f"turns/{turn.pk}/stop/")
    response = await client.post(place, headers={"hx-request": "true"})
    assert response.status_code == 204
    await all_written()
    await turn.arefresh_from_db()
    assert turn.state == Turn.State.STOPPED
