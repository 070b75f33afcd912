import json
import re

import pytest

from tests.processes import ROOT

LOCKS = ["requirements.txt", "requirements-dev.txt"]
JUDGE = ROOT / "tests/sandbox/typescript/package-lock.json"
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==([^\s;]+)", re.MULTILINE)


def pins(name: str) -> set[tuple[str, str]]:
    """Each package with its version; one may have several, for one Python each."""
    return set(PIN.findall((ROOT / name).read_text()))


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_pinned_with_hashes(name):
    entries = re.split(r"\n(?=\S)", (ROOT / name).read_text().strip())
    entries = [entry for entry in entries if not entry.startswith("#")]
    assert len(entries) == len(pins(name)) > 20
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("name", LOCKS)
def test_no_registry_is_named(name):
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "index-url" not in text


def test_developers_run_what_is_shipped():
    shipped, developers = pins("requirements.txt"), pins("requirements-dev.txt")
    assert shipped <= developers
    names = {name for name, _ in shipped}
    assert {pin for pin in developers if pin[0] in names} == shipped


def test_the_judge_in_typescript_is_pinned_without_a_registry():
    lock = json.loads(JUDGE.read_text())
    packages = [package for path, package in lock["packages"].items() if path]
    assert packages
    assert [package for package in packages if "integrity" not in package] == []
    assert [package for package in packages if "resolved" in package] == []
    settings = (JUDGE.parent / ".npmrc").read_text()
    assert "omit-lockfile-registry-resolved=true" in settings
