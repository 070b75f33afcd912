import pytest

from tests.cast import Cast


def test_the_choice_is_written_by_the_server(cast: Cast) -> None:
    client = cast.client(cast.vera)
    response = client.post("/theme/", {"theme": "dark", "next": "/w/acme/"})
    assert response.headers["Location"] == "/w/acme/"
    assert '<html lang="en" data-theme="dark">' in client.get("/w/acme/").content.decode()
    client.post("/theme/", {"theme": "system"})
    assert '<html lang="en">' in client.get("/w/acme/").content.decode()


@pytest.mark.parametrize(
    "place", ["https://evil.example/", "//evil.example", "javascript:x", "{{", "home", "\x00/"]
)
def test_it_leads_to_no_other_site(cast: Cast, place: str) -> None:
    response = cast.client(cast.vera).post("/theme/", {"theme": "dark", "next": place})
    assert response.headers["Location"] == "/"


def test_a_theme_that_is_none_is_refused_or_ignored(cast: Cast) -> None:
    client = cast.client(cast.vera)
    assert client.post("/theme/", {"theme": '"><script>'}).status_code == 400
    client.cookies["theme"] = "x"
    assert '<html lang="en">' in client.get("/w/acme/").content.decode()
