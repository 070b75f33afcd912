from collections.abc import Iterator

import pytest
from django.utils import timezone
from pytest_django import Settings

from tests.batches.stage import SandboxScope, make_workspace
from tests.processes import Sandbox
from tests.scripted_api import ScriptedApi
from workspaces.models import ApiKey, Workspace


@pytest.fixture
def workspace(db: None) -> Workspace:
    return make_workspace()


@pytest.fixture
def api(settings: Settings, workspace: Workspace) -> Iterator[ScriptedApi]:
    """A scripted API, and a key of the workspace for it."""
    with ScriptedApi() as api:
        settings.SANDBOX_URL = api.url
        read = {"models_read_at": timezone.now()}
        ApiKey.seal(workspace, "sandbox", "sk-ant-scripted-key", **read)
        yield api
    assert api.unplanned == []


@pytest.fixture
def key(workspace: Workspace) -> ApiKey:
    """The workspace's key, made by `api` or by `at_sandbox`."""
    key = workspace.live_key()
    assert key is not None
    return key


@pytest.fixture
def at_sandbox(
    settings: Settings, workspace: Workspace, sandbox: Sandbox, scope: str
) -> SandboxScope:
    """The real sandbox, a scope of it, and a key of the workspace for that."""
    settings.SANDBOX_URL = sandbox.url
    there = SandboxScope(sandbox.url, scope)
    there.save_key(workspace)
    return there
