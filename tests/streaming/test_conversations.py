from datetime import timedelta

from django.db import connection
from django.test.utils import CaptureQueriesContext

from leases.clock import database_now
from streaming.models import Conversation
from streaming.views import conversations as view
from tests.cast import Cast
from tests.streaming.pages import CALL, begin, ended, words
from tests.streaming.turns import make_turn

LIST = "/w/acme/conversations/"


def text_of(cast: Cast, query: str = "", name: str = "vera") -> str:
    return words(cast.client(getattr(cast, name)).get(LIST + query))


def test_it_lists_what_was_asked(cast: Cast) -> None:
    conversation = begin(cast, "Name three rivers.")
    ended(conversation)
    ended(conversation)
    said = text_of(cast)
    assert "Done Name three rivers." in said
    assert "2 haiku-4-5 1,252 bob" in said


def test_the_one_that_was_used_last_is_first(cast: Cast) -> None:
    at = database_now()
    for days, title in ((2, "Old"), (0, "New"), (1, "Middle")):
        conversation = begin(cast, title)
        updated = at - timedelta(days=days)
        Conversation.objects.filter(pk=conversation.pk).update(updated_at=updated)
    said = text_of(cast)
    assert said.index("New") < said.index("Middle") < said.index("Old")


def test_it_says_what_waits_for_somebody(cast: Cast) -> None:
    ended(begin(cast, "Weather"), content=CALL, stop_reason="tool_use")
    ended(begin(cast, "Story"), stop_reason="max_tokens")
    said = text_of(cast)
    assert "Needs a result Weather" in said
    assert "Cut off Story" in said


def test_an_attempt_that_was_run_again_counts_its_tokens_and_is_no_turn(cast: Cast) -> None:
    conversation = begin(cast)
    ended(conversation, replaced_at=database_now())
    ended(conversation)
    assert "1 haiku-4-5 1,252" in text_of(cast)


def test_it_is_paged(cast: Cast, monkeypatch) -> None:
    monkeypatch.setattr(view, "PER_PAGE", 2)
    for number in range(5):
        begin(cast, f"Conversation {number}")
    seen, query = [], ""
    for _ in range(3):
        body = cast.client(cast.vera).get(LIST + query).content.decode()
        seen += [number for number in range(5) if f">Conversation {number}<" in body]
        query = body.partition('rel="next" href="/w/acme/conversations/')[2].partition('"')[0]
    assert sorted(seen) == [0, 1, 2, 3, 4]
    assert query == ""


def test_an_address_that_names_no_place_shows_the_newest(cast: Cast) -> None:
    begin(cast, "Rivers")
    for place in ("x", "1_", "inf_1", "nan_1", "1e300_1", "_"):
        assert "Rivers" in text_of(cast, f"?before={place}")


def test_nothing_yet(cast: Cast) -> None:
    assert "watch the answer arrive" in text_of(cast, name="bob")
    assert "New conversation" in text_of(cast, name="bob")
    assert "New conversation" not in text_of(cast)
    assert "Members can ask." in text_of(cast)


def test_the_conversations_of_another_workspace_are_not_there(cast: Cast) -> None:
    begin(cast, "Secret", workspace=cast.other)
    assert "Secret" not in text_of(cast)


def test_it_looks_again_while_an_answer_is_written(cast: Cast) -> None:
    make_turn(begin(cast))
    client = cast.client(cast.vera)
    body = client.get(LIST).content.decode()
    assert "Waiting" in body
    again = body.partition('hx-get="')[2].partition('"')[0].replace("&amp;", "&")
    assert client.get(again).status_code == 204
    conversation = begin(cast, "Another")
    assert "Another" in client.get(again).content.decode()
    conversation.delete()


def test_an_answer_whose_server_is_gone_is_interrupted(cast: Cast) -> None:
    turn = make_turn(begin(cast))
    type(turn).objects.filter(pk=turn.pk).update(lease_until=database_now())
    assert "Interrupted" in text_of(cast)


def test_a_list_costs_as_much_with_many_as_with_one(cast: Cast) -> None:
    client, counts = cast.client(cast.vera), []
    ended(begin(cast))
    client.get(LIST)
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            client.get(LIST)
        counts.append(len(queries))
        for _ in range(5):
            ended(begin(cast))
    assert counts[0] == counts[1]
