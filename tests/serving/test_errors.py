import logging
import re

import pytest
from django.test import RequestFactory

from serving.errors import server_error


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
