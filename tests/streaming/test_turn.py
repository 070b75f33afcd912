from claude_api import Event
from streaming.models import Frame
from streaming.windows import encode_frame
from tests.cast import Cast
from tests.streaming.pages import address, begin, ended
from tests.streaming.turns import make_turn

HTMX = {"headers": {"hx-request": "true"}}


def test_it_gives_one_turn_as_the_page_shows_it(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    first, second = ended(conversation, "One?"), ended(conversation, "Two?")
    seen = f"{first.pk}-done-1,{second.pk}-live-1"
    place = address(conversation, f"turns/{second.pk}/")
    body = cast.client(cast.vera).get(place, {"seen": seen}, **HTMX).content.decode()
    assert f'<article class="turn" id="turn-{second.pk}"' in body
    assert "One?" not in body
    assert "<title>Done · Rivers · Sluice</title>" in body
    # Of the others the page knows what it knew.
    assert f'value="{first.pk}-done-1,{second.pk}-done-1"' in body


def test_of_a_live_one_it_shows_what_is_stored(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    turn = make_turn(conversation)
    message = {"type": "message_start", "message": {"content": [], "usage": {}}}
    start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}
    delta = {"type": "text_delta", "text": "Half a sen"}
    grown = {"type": "content_block_delta", "index": 0, "delta": delta}
    payload = encode_frame(1, 0, 10, [Event(e["type"], e) for e in (message, start, grown)])
    Frame.objects.create(turn=turn, seq=1, payload=payload)
    place = address(conversation, f"turns/{turn.pk}/")
    body = cast.client(cast.vera).get(place, **HTMX).content.decode()
    assert "Half a sen</div>" in body
    assert 'data-length="10"' in body


def test_without_scripts_it_leads_to_the_page(cast: Cast, key: str) -> None:
    conversation = begin(cast)
    turn = ended(conversation)
    response = cast.client(cast.vera).get(address(conversation, f"turns/{turn.pk}/"))
    assert response.headers["Location"] == address(conversation, f"#turn-{turn.pk}")


def test_a_turn_of_another_conversation_is_not_there(cast: Cast, key: str) -> None:
    turn = ended(begin(cast))
    place = address(begin(cast), f"turns/{turn.pk}/")
    assert cast.client(cast.vera).get(place, **HTMX).status_code == 404
