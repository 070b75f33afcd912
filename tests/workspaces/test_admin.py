from django.contrib.auth.models import User
from django.test import Client

from tests.cast import Cast
from workspaces.models import Event, Membership


def superuser_client() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    return client


def test_a_role_is_changed_with_its_event(cast: Cast) -> None:
    member = Membership.objects.get(user=cast.bob)
    place = f"/admin/workspaces/membership/{member.pk}/change/"
    assert superuser_client().post(place, {"role": "owner"}).status_code == 302
    member.refresh_from_db()
    assert member.role == "owner"
    event = Event.objects.get(subject=f"user:{cast.bob.pk}")
    assert (event.sentence, event.actor.username) == ("bob is now owner.", "boss")


def test_somebody_is_let_in(cast: Cast) -> None:
    fields = {"workspace": cast.workspace.pk, "user": cast.charlie.pk, "role": "viewer"}
    response = superuser_client().post("/admin/workspaces/membership/add/", fields)
    assert response.status_code == 302
    assert cast.client(cast.charlie).get("/w/acme/").status_code == 200


def test_the_last_owner_is_neither_demoted_nor_removed(cast: Cast) -> None:
    client = superuser_client()
    owner = Membership.objects.get(user=cast.alice)
    place = f"/admin/workspaces/membership/{owner.pk}"
    page = client.post(f"{place}/change/", {"role": "viewer"})
    assert "alice is the last owner of acme" in page.content.decode()
    assert client.post(f"{place}/delete/", {"post": "yes"}).status_code == 403
    owner.refresh_from_db()
    assert owner.role == "owner"


def test_a_workspace_is_not_deleted_from_here(cast: Cast) -> None:
    place = f"/admin/workspaces/workspace/{cast.workspace.pk}/delete/"
    assert superuser_client().post(place, {"post": "yes"}).status_code == 403
