import logging
import re

import pytest
from django.test import RequestFactory

from serving.errors import server_error
from tests.cast import Cast


@pytest.mark.logs_errors
def test_a_failure_is_found_in_the_log_by_its_reference(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        response = server_error(RequestFactory().get("/w/acme/"))
    assert response.status_code == 500
    found = re.search(
        r"Reference <code>([0-9a-f]{4}-[0-9a-f]{4})</code>", response.content.decode()
    )
    assert found is not None
    assert caplog.messages == [f"reference {found[1]}: GET /w/acme/ failed"]


@pytest.mark.parametrize(("chosen", "attribute"), [("dark", ' data-theme="dark"'), ('"><b', "")])
def test_a_form_without_its_token_is_too_old_in_the_chosen_theme(
    cast: Cast, chosen: str, attribute: str
) -> None:
    client = cast.client(cast.alice, enforce_csrf_checks=True)
    client.cookies["theme"] = chosen
    response = client.post("/w/acme/settings/", {"name": "Mine"})
    assert response.status_code == 403
    page = response.content.decode()
    assert "This form is too old" in page
    assert f'<html lang="en"{attribute}>' in page


def test_what_is_not_there_leads_to_the_batches(cast: Cast) -> None:
    response = cast.client(cast.alice).get("/w/other/")
    assert response.status_code == 404
    page = response.content.decode()
    assert "This page does not exist, or it belongs to a workspace you are not in." in page
    assert '<a class="button primary" href="/">Your batches</a>' in page


def test_a_refusal_is_one_line_of_the_log(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    assert cast.client(cast.vera).get("/w/acme/batches/new/").status_code == 403
    [record] = [one for one in caplog.records if one.name == "django.request"]
    assert record.getMessage() == "Forbidden (Permission denied): /w/acme/batches/new/"
    assert record.exc_info is None


@pytest.mark.logs_errors
def test_what_failed_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise RuntimeError("no database here")
    except RuntimeError:
        logging.getLogger("django.request").exception("Internal Server Error: /w/acme/")
    assert "RuntimeError: no database here" in caplog.text
