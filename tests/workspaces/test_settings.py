from html import unescape

import pytest
from django.http import HttpResponse
from django.utils.html import strip_tags

from tests.batches.test_pruning import make_old
from tests.cast import Cast
from tests.streaming.test_prune_conversations import make_old as make_old_conversation
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


def keep(cast: Cast, days: str, **more: str) -> HttpResponse:
    return cast.client(cast.alice).post(URL, {"name": "Acme", "days": days, **more})


def retention_days(cast: Cast) -> int | None:
    cast.workspace.refresh_from_db()
    return cast.workspace.retention_days


def test_an_owner_says_how_long_results_are_kept(cast: Cast) -> None:
    assert keep(cast, "365").status_code == 302
    assert retention_days(cast) == 365
    assert 'value="365"' in cast.client(cast.alice).get(URL).content.decode()
    said = "Results are kept for 365 days; before: until somebody deletes them."
    event = Event.objects.get()
    assert (event.sentence, event.actor) == (said, cast.alice)
    keep(cast, "365")
    assert Event.objects.count() == 1
    assert "for 365 days" in cast.client(cast.vera).get(URL).content.decode()
    assert keep(cast, "").status_code == 302
    assert retention_days(cast) is None
    assert Event.objects.latest("pk").sentence.startswith("Results are kept until somebody")


def test_what_is_older_now_is_said_before_it_is_saved(cast: Cast) -> None:
    make_old(cast.workspace, 40)
    make_old(cast.workspace, 20)
    make_old_conversation(cast.workspace, 40)
    make_old(cast.other, 40)
    assert keep(cast, "365").status_code == 302
    response = keep(cast, "30")
    assert response.status_code == 422
    page = " ".join(unescape(strip_tags(response.content.decode())).split())
    assert "Not saved yet: 1 batch and 1 conversation of Acme would be deleted." in page
    assert retention_days(cast) == 365
    # Agreed to other days than are typed by now: asked again.
    assert keep(cast, "10", agreed="30").status_code == 422
    assert "2 batches" in keep(cast, "10", agreed="30").content.decode()
    assert keep(cast, "30", agreed="30").status_code == 302
    assert retention_days(cast) == 30
    assert keep(cast, "365").status_code == 302, "more days delete nothing"


@pytest.mark.parametrize("days", ["0", "-1", "1.5", "soon", "99999999999", "²"])
def test_days_that_are_none_are_said_and_kept(cast: Cast, days: str) -> None:
    response = keep(cast, days)
    assert response.status_code == 422
    page = response.content.decode()
    assert 'class="error" id="id_days_error"' in page
    assert f'value="{days}"' in page
    assert retention_days(cast) is None
    assert not Event.objects.exists()


def test_others_do_not_say_it(cast: Cast) -> None:
    for person, status in ((cast.bob, 403), (cast.vera, 403), (cast.charlie, 404)):
        response = cast.client(person).post(URL, {"name": "Acme", "days": "1"})
        assert response.status_code == status
    assert retention_days(cast) is None


def test_the_other_workspaces_are_a_menu_where_there_are_some(cast: Cast) -> None:
    client = cast.client(cast.alice)
    assert 'id="switcher"' not in client.get(URL).content.decode()
    cast.other.memberships.create(user=cast.alice, role="viewer")
    page = client.get(URL).content.decode()
    assert 'id="switcher"' in page
    assert 'href="/w/other/"' in page
