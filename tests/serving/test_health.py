import pytest
from django.db import OperationalError, connection
from django.test import Client


def test_it_is_ok_while_the_database_answers(db: None) -> None:
    response = Client().get("/health")
    assert (response.status_code, response.content) == (200, b"ok")
    assert "no-store" in response.headers["Cache-Control"]


@pytest.mark.logs_errors
def test_it_says_503_when_the_database_does_not(db: None) -> None:
    def refuse(*arguments: object) -> None:
        raise OperationalError("disk gone: /secret/place")

    with connection.execute_wrapper(refuse):
        response = Client().get("/health")
    assert (response.status_code, response.content) == (503, b"database unreachable")


def test_it_takes_no_forms(db: None) -> None:
    assert Client().post("/health").status_code == 405
