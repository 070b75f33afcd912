from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from batches.models import Upload
from workspaces.models import Workspace

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def workspace(db: None) -> Workspace:
    return Workspace.objects.create(name="Acme", slug="acme")


@pytest.fixture
def make_row(workspace: Workspace) -> Callable[..., Upload]:
    """A row to be leased; by default due at noon and free."""
    made = 0

    def make(due_at: datetime | None = NOON, **fields: Any) -> Upload:
        nonlocal made
        made += 1
        return Upload.objects.create(
            workspace=workspace,
            filename="rows.csv",
            token=str(made),
            size=1,
            due_at=due_at,
            **fields,
        )

    return make
