from collections.abc import Iterator

import pytest

from tests.processes import Sandbox
from tests.sandbox.api import OLDER, Api


@pytest.fixture
def api(sandbox: Sandbox, scope: str) -> Iterator[Api]:
    api = Api(sandbox.url, scope)
    with api.http:
        yield api


@pytest.fixture
def older_api(sandbox: Sandbox, scope: str) -> Iterator[Api]:
    """The same scope as `api`, in the older version of the API."""
    api = Api(sandbox.url, scope, OLDER)
    with api.http:
        yield api
