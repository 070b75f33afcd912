import pytest

from tests.cast import Cast
from workspaces.models import Event

URL = "/w/acme/settings/"


def test_an_owner_gives_another_name(cast: Cast) -> None:
    client = cast.client(cast.alice)
    response = client.post(URL, {"name": " Acme & Söhne "}, follow=True)
    assert response.redirect_chain == [(URL, 302)]
    page = response.content.decode()
    assert 'value="Acme &amp; Söhne"' in page
    assert "testserver/w/acme/" in page
    event = Event.objects.get()
    assert (event.sentence, event.actor) == ("Acme is called Acme & Söhne now.", cast.alice)
    client.post(URL, {"name": "Acme & Söhne"})
    assert Event.objects.count() == 1


@pytest.mark.parametrize("name", ["vera", "bob"])
def test_others_read_and_are_told_who_can(cast: Cast, name: str) -> None:
    client = cast.client(getattr(cast, name))
    page = client.get(URL).content.decode()
    assert "Only owners can change this: alice." in page
    assert "<form" not in page.split("<main")[1].split("</main")[0]
    response = client.post(URL, {"name": "Mine"})
    assert response.status_code == 403
    assert "Only owners of Acme can change this: alice." in response.content.decode()
    cast.workspace.refresh_from_db()
    assert cast.workspace.name == "Acme"


def test_a_stranger_finds_nothing(cast: Cast) -> None:
    assert cast.client(cast.charlie).post(URL, {"name": "Mine"}).status_code == 404


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\x00b"])
def test_a_name_that_is_none_is_said_and_kept(cast: Cast, name: str) -> None:
    response = cast.client(cast.alice).post(URL, {"name": name})
    assert response.status_code == 422
    page = response.content.decode()
    assert 'aria-invalid="true"' in page
    assert 'class="error"' in page
    assert "x" * 101 in page or len(name) < 100


def test_the_other_workspaces_are_a_menu_where_there_are_some(cast: Cast) -> None:
    client = cast.client(cast.alice)
    assert 'id="switcher"' not in client.get(URL).content.decode()
    cast.other.memberships.create(user=cast.alice, role="viewer")
    page = client.get(URL).content.decode()
    assert 'id="switcher"' in page
    assert 'href="/w/other/"' in page
