import re

import pytest
from django.core.management import get_commands

from tests.conftest import ENVIRONMENT
from tests.processes import ROOT

OURS = {"batches", "streaming", "workspaces", "leases", "serving"}
SETTING = re.compile(r"""\b(?:read_\w+|env\.db_url)\(\s*"([A-Z][A-Z_]+)\"""")
COMMANDS = sorted(name for name, app in get_commands().items() if app in OURS)


def documentation() -> str:
    return "\n".join(
        path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    )


def settings_read() -> list[str]:
    return sorted(set(SETTING.findall((ROOT / "config/settings.py").read_text())))


def test_settings_are_found():
    found = set(settings_read())
    assert {"SECRET_KEY", "DATABASE_URL", "SLUICE_SETTLE_SECONDS", "CLAUDE_API_URL"} <= found


def test_no_setting_of_the_person_reaches_a_test():
    assert [name for name in settings_read() if name not in ENVIRONMENT] == []


def test_commands_are_found():
    assert {"run_batch", "poll_batches", "add_member"} <= set(COMMANDS)


@pytest.mark.parametrize("name", settings_read())
def test_a_setting_is_described(name):
    assert f"| `{name}` |" in (ROOT / "docs/settings.md").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_described(name):
    assert re.search(rf"\b{name}\b", documentation())
