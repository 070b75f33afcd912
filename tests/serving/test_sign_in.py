from django.test import Client

from tests.cast import Cast

FRAGMENT = {"hx-request": "true"}


def test_who_is_signed_out_meanwhile_gets_no_sign_in_page_into_the_page(cast: Cast) -> None:
    for path in ("/w/acme/live/", "/w/acme/batches/live/?rows=1.a"):
        answer = Client().get(path, headers=FRAGMENT)
        assert (answer.status_code, answer.headers["HX-Refresh"]) == (204, "true")
        assert Client().get(path).headers["Location"].startswith("/accounts/login/?next=")
        assert cast.client(cast.vera).get(path, headers=FRAGMENT).status_code == 200


def test_the_way_to_sign_in_is_open_to_fragments_too(db: None) -> None:
    assert Client().get("/accounts/login/", headers=FRAGMENT).status_code == 200
