from streaming.models import Conversation
from tests.cast import Cast
from tests.streaming.pages import address, begin, ended, words
from tests.streaming.turns import make_turn
from workspaces.models import Event


def test_it_forgets_the_conversation(cast: Cast) -> None:
    conversation, other = begin(cast), begin(cast)
    ended(conversation)
    client = cast.client(cast.bob)
    assert "1 prompt with what was answered" in words(client.get(address(conversation, "delete/")))
    response = client.post(address(conversation, "delete/"), follow=True)
    assert "Deleted: Rivers" in words(response)
    assert list(Conversation.objects.all()) == [other]
    event = Event.objects.get()
    said = f"#{conversation.pk} Rivers was deleted: 1 prompt."
    assert (event.sentence, event.actor) == (said, cast.bob)


def test_not_while_an_answer_is_written(cast: Cast) -> None:
    conversation = begin(cast)
    make_turn(conversation)
    response = cast.client(cast.bob).post(address(conversation, "delete/"))
    assert "Stop the answer first" in words(response, 422)
    assert Conversation.objects.filter(pk=conversation.pk).exists()
