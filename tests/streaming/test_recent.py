from tests.cast import Cast
from tests.streaming.pages import begin, ended, words

PLACE = "/w/acme/conversations/recent/"


def test_home_shows_the_last_five(cast: Cast) -> None:
    for number in range(6):
        ended(begin(cast, f"Conversation {number}"))
    said = words(cast.client(cast.vera).get(PLACE))
    assert "Conversation 5 Done haiku-4-5" in said
    assert "Conversation 1" in said
    assert "Conversation 0" not in said


def test_without_any_it_says_nothing(cast: Cast) -> None:
    assert words(cast.client(cast.vera).get(PLACE)) == ""
