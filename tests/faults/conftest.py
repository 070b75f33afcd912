"""Faults meet the same workspace, scripted API and sandbox that the tests of the stages use."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from batches.models import Batch
from tests.batches.conftest import api, at_sandbox, key, workspace
from tests.batches.html import text_of
from workspaces.models import Membership, Workspace

__all__ = ["api", "at_sandbox", "key", "workspace"]
Said = Callable[..., str]


@pytest.fixture
def said(workspace: Workspace) -> Said:
    """What a member reads of a Batch; `page` is another one than its overview."""
    user = User.objects.create_user("mei", "mei@example.org")
    Membership.objects.create(workspace=workspace, user=user, role=Membership.Role.MEMBER)
    client = Client()
    client.force_login(user)

    def read(batch: Batch, page: str = "") -> str:
        where = f"batches/{batch.pk}/{page}" if page != "home" else ""
        response = client.get(f"/w/{workspace.slug}/{where}")
        assert response.status_code == 200
        return text_of(response)

    return read
