import pytest
from django.utils import timezone

from tests.cast import Cast
from workspaces.models import Event, Membership
from workspaces.people import set_role

URL = "/w/acme/settings/members/"
HTMX = {"HX-Request": "true"}


def member(cast: Cast, name: str) -> Membership:
    return Membership.objects.get(workspace=cast.workspace, user__username=name)


def url_of(cast: Cast, name: str, page: str = "") -> str:
    return f"{URL}{member(cast, name).pk}/{page}"


def test_it_lists_who_is_in_it(cast: Cast) -> None:
    Membership.objects.filter(user=cast.bob).update(seen_at=timezone.now())
    page = cast.client(cast.alice).get(URL).content.decode()
    assert page.index("<b>alice</b>") < page.index("<b>bob</b>") < page.index("<b>vera</b>")
    assert "charlie" not in page
    assert "never" in page
    assert "manage.py add_member acme" in page
    assert page.count("Change…") == 3


@pytest.mark.parametrize("name", ["vera", "bob"])
def test_others_read_and_may_leave(cast: Cast, name: str) -> None:
    client = cast.client(getattr(cast, name))
    page = client.get(URL).content.decode()
    assert "Only owners can change this: alice." in page
    assert "Change…" not in page
    assert "add_member" not in page
    assert url_of(cast, name, "remove/") in page
    assert client.post(url_of(cast, "alice"), {"role": "viewer"}).status_code == 403
    assert client.post(url_of(cast, "alice", "remove/")).status_code == 403
    response = client.post(url_of(cast, name, "remove/"), follow=True)
    assert "You left Acme." in response.content.decode()
    assert client.get(URL).status_code == 404
    assert Event.objects.get().sentence == f"{name} left."


def test_an_owner_changes_a_role(cast: Cast) -> None:
    client = cast.client(cast.alice)
    assert "Save the role" in client.get(url_of(cast, "bob")).content.decode()
    assert client.post(url_of(cast, "bob"), {"role": "owner"}).headers["Location"] == URL
    assert member(cast, "bob").role == "owner"
    response = client.post(url_of(cast, "bob"), {"role": "viewer"}, headers=HTMX)
    assert response.headers["HX-Redirect"] == URL
    assert member(cast, "bob").role == "viewer"


def test_an_owner_removes_a_person(cast: Cast) -> None:
    client = cast.client(cast.alice)
    url = url_of(cast, "bob", "remove/")
    assert "Remove bob from Acme?" in client.get(url, headers=HTMX).content.decode()
    assert client.post(url).headers["Location"] == URL
    event = Event.objects.get()
    assert (event.sentence, event.actor) == ("bob was removed.", cast.alice)
    assert cast.client(cast.bob).get("/w/acme/").status_code == 404
    assert client.post(url).status_code == 404


def test_the_last_owner_stays_one(cast: Cast) -> None:
    client = cast.client(cast.alice)
    for url, data in (
        (url_of(cast, "alice"), {"role": "member"}),
        (url_of(cast, "alice", "remove/"), {}),
    ):
        response = client.post(url, data)
        assert response.status_code == 422
        assert "alice is the last owner of acme" in response.content.decode()
    assert member(cast, "alice").role == "owner"
    set_role(cast.workspace, cast.bob, "owner")
    assert client.post(url_of(cast, "alice"), {"role": "member"}).status_code == 302


def test_people_of_another_workspace_are_not_there(cast: Cast) -> None:
    stranger = cast.other.memberships.get()
    for page in ("", "remove/"):
        response = cast.client(cast.alice).post(f"{URL}{stranger.pk}/{page}", {"role": "viewer"})
        assert response.status_code == 404
    assert cast.client(cast.charlie).get(URL).status_code == 404


@pytest.mark.parametrize("role", ["", "boss"])
def test_a_role_that_is_none_is_refused(cast: Cast, role: str) -> None:
    response = cast.client(cast.alice).post(url_of(cast, "bob"), {"role": role})
    assert response.status_code == 422
    assert 'role="alert"' in response.content.decode()
    assert member(cast, "bob").role == "member"
