import pytest

from batches.models import Batch
from tests.batches.stage import make_batch, make_part
from tests.cast import Cast
from workspaces.models import Event


def a_batch(cast: Cast) -> Batch:
    batch = make_batch(cast.workspace, ["one"])
    make_part(batch, 1)
    return batch


def address(batch: Batch) -> str:
    return f"/w/acme/batches/{batch.pk}/rename/"


def name_of(batch: Batch) -> str:
    batch.refresh_from_db()
    return batch.name


def test_it_renames(cast: Cast) -> None:
    batch = a_batch(cast)
    client = cast.client(cast.bob)
    assert 'value="Themes"' in client.get(address(batch)).content.decode()
    response = client.post(address(batch), {"name": " 客户  themes\n"})
    assert response.headers["Location"] == f"/w/acme/batches/{batch.pk}/"
    assert name_of(batch) == "客户 themes"
    event = Event.objects.get(verb="renamed")
    assert (event.actor, event.sentence) == (cast.bob, "Renamed from Themes to 客户 themes.")


def test_a_draft_goes_back_to_its_step(cast: Cast) -> None:
    batch = make_batch(cast.workspace, ["one"])
    response = cast.client(cast.bob).post(address(batch), {"name": "New"})
    assert response.headers["Location"] == f"/w/acme/batches/{batch.pk}/review/"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "Give it a name."),
        (" \n", "Give it a name."),
        ("x" * 201, "At most 200 characters; this one has 201."),
    ],
)
def test_a_name_that_is_none_is_kept_and_explained(cast: Cast, name: str, said: str) -> None:
    batch = a_batch(cast)
    response = cast.client(cast.bob).post(address(batch), {"name": name})
    assert response.status_code == 422
    assert said in response.content.decode()
    assert name_of(batch) == "Themes"


@pytest.mark.parametrize("name", ["\0", "\ud800", "<b>x</b>"])
def test_any_text_is_a_name(cast: Cast, name: str) -> None:
    batch = a_batch(cast)
    sent = name.encode("utf-8", "surrogatepass")
    assert cast.client(cast.bob).post(address(batch), {"name": sent}).status_code == 302
    assert "<b>x" not in cast.client(cast.vera).get(address(batch)[:-7]).content.decode()


def test_viewers_and_strangers_rename_nothing(cast: Cast) -> None:
    batch = a_batch(cast)
    for person, status in ((cast.vera, 403), (cast.charlie, 404)):
        response = cast.client(person).post(address(batch), {"name": "Theirs"})
        assert response.status_code == status
    assert name_of(batch) == "Themes"
