import pytest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from pytest_django import Settings

from serving.headers import SecurityHeadersMiddleware, content_security_policy
from tests.cast import Cast

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; "
    "frame-ancestors 'none'"
)


def test_the_policy_allows_nothing_that_is_not_ours() -> None:
    assert content_security_policy() == POLICY


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/accounts/login/", 200),
        ("/health", 200),
        ("/", 302),
        ("/no/such/page", 404),
        ("/static/sluice.css", 200),
        ("/accounts/logout/", 302),
    ],
)
def test_every_response_has_the_headers(db: None, path: str, status: int) -> None:
    response = Client().get(path)
    assert response.status_code == status
    assert response.headers["Content-Security-Policy"] == POLICY
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "camera=()" in response.headers["Permissions-Policy"]
    response.close()


@pytest.mark.logs_errors
def test_a_refused_host_and_a_redirect_to_https_have_them(db: None, settings: Settings) -> None:
    assert Client().get("/", headers={"host": "evil.example"}).status_code == 400
    settings.SECURE_SSL_REDIRECT = True
    response = Client().get("/accounts/login/")
    assert response.status_code == 301
    assert response.headers["Content-Security-Policy"] == POLICY
    assert Client().get("/health").status_code == 200


def test_a_refused_form_has_them(db: None) -> None:
    response = Client(enforce_csrf_checks=True).post("/accounts/login/")
    assert response.status_code == 403
    assert "This form is too old" in response.content.decode()
    assert response.headers["Content-Security-Policy"] == POLICY


def test_what_a_team_sees_is_not_kept_by_the_browser(cast: Cast) -> None:
    client = cast.client(cast.vera)
    assert client.get("/w/acme/").headers["Cache-Control"] == "no-store"
    assert client.get("/no/such/page").headers["Cache-Control"] == "no-store"
    static = client.get("/static/sluice.css")
    assert "no-store" not in static.headers["Cache-Control"]
    static.close()


def test_a_policy_of_the_view_stays() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(headers={"Content-Security-Policy": "sandbox"})

    response = SecurityHeadersMiddleware(view)(HttpRequest())
    assert response.headers["Content-Security-Policy"] == "sandbox"


@pytest.mark.django_db(transaction=True)
async def test_an_async_request_has_them_too() -> None:
    response = await AsyncClient().get("/health")
    assert response.status_code == 200
    assert response.headers["Content-Security-Policy"] == POLICY
