from datetime import UTC, datetime

from tests.cast import Cast
from workspaces.models import Membership


def test_the_last_workspace_is_entered(cast: Cast) -> None:
    client = cast.client(cast.alice)
    Membership.objects.create(workspace=cast.other, user=cast.alice, role="viewer")
    client.get("/w/other/")
    assert client.get("/").headers["Location"] == "/w/other/"


def test_with_several_never_visited_there_is_a_choice(cast: Cast) -> None:
    Membership.objects.create(workspace=cast.other, user=cast.alice, role="viewer")
    page = cast.client(cast.alice).get("/", follow=True).content.decode()
    assert page.index('href="/w/acme/"') < page.index('href="/w/other/"')


def test_the_only_workspace_is_entered(cast: Cast) -> None:
    assert cast.client(cast.bob).get("/w/").headers["Location"] == "/w/acme/"


def test_a_removed_person_is_told_whom_to_ask(cast: Cast) -> None:
    page = cast.client(cast.rita).get("/", follow=True).content.decode()
    assert "You are not in a workspace yet. Ask an owner to add rita@example.org." in page


def test_a_workspace_left_is_not_the_last(cast: Cast) -> None:
    left = Membership.objects.create(
        workspace=cast.other, user=cast.bob, role="viewer", seen_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    left.delete()
    assert cast.client(cast.bob).get("/", follow=True).redirect_chain[-1][0] == "/w/acme/"
