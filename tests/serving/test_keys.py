import pytest

from tests.cast import Cast


def test_single_letters_are_switched_off_and_on(cast: Cast) -> None:
    client = cast.client(cast.vera)
    response = client.post("/keys/", {"keys": "off", "next": "/w/acme/settings/"})
    assert response.headers["Location"] == "/w/acme/settings/"
    assert 'data-keys="off"' in client.get("/w/acme/").content.decode()
    client.post("/keys/", {"keys": "on"})
    assert "data-keys" not in client.get("/w/acme/").content.decode()


def test_it_leads_to_no_other_site(cast: Cast) -> None:
    response = cast.client(cast.vera).post("/keys/", {"keys": "on", "next": "//evil.example"})
    assert response.headers["Location"] == "/"


@pytest.mark.parametrize("choice", ["", "maybe"])
def test_another_choice_is_refused(cast: Cast, choice: str) -> None:
    assert cast.client(cast.vera).post("/keys/", {"keys": choice}).status_code == 400
