import pytest

from tests.cast import Cast
from tests.streaming.pages import address, begin, words


def test_it_takes_another_title(cast: Cast) -> None:
    conversation = begin(cast)
    response = cast.client(cast.bob).post(address(conversation, "rename/"), {"title": " A  b "})
    assert response.headers["Location"] == address(conversation)
    conversation.refresh_from_db()
    assert conversation.title == "A b"


@pytest.mark.parametrize("title", ["", "  \n", "\0", "x" * 81])
def test_a_bad_title_changes_nothing(cast: Cast, title: str) -> None:
    conversation = begin(cast)
    response = cast.client(cast.bob).post(address(conversation, "rename/"), {"title": title})
    assert "title" in words(response, 422)
    conversation.refresh_from_db()
    assert conversation.title == "Rivers"


def test_it_asks_in_a_dialog_or_on_a_page(cast: Cast) -> None:
    place = address(begin(cast), "rename/")
    client = cast.client(cast.bob)
    assert "<html" in client.get(place).content.decode()
    assert "<html" not in client.get(place, headers={"hx-request": "true"}).content.decode()
