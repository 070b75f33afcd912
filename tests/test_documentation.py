import re

import pytest
from django.core.management import get_commands

from tests.conftest import ENVIRONMENT
from tests.processes import ROOT

OURS = {"batches", "streaming", "workspaces", "leases", "serving"}
SETTING = re.compile(r"""\b(?:read_\w+|env\.db_url)\(\s*"([A-Z][A-Z_]+)\"""")
NAMED_TEST = re.compile(r"`(\w+/test_\w+\.py)::(\w+)`")
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


def named_tests() -> list[tuple[str, str]]:
    return sorted(set(NAMED_TEST.findall((ROOT / "docs/reliability.md").read_text())))


def test_every_fault_names_its_test():
    table = (ROOT / "docs/reliability.md").read_text()
    rows = [line for line in table.splitlines() if re.match(r"\| F\d", line)]
    assert [row for row in rows if not NAMED_TEST.search(row)] == []
    numbers = {int(number) for row in rows for number in re.findall(r"F(\d+)", row.split("|")[1])}
    assert numbers == set(range(1, 49))


@pytest.mark.parametrize(("file", "name"), named_tests())
def test_a_test_that_is_named_is_there(file, name):
    assert f"def {name}(" in (ROOT / "tests" / file).read_text()
