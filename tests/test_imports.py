"""Imports run one way, so that each part can be read, tested and replaced without the others."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import ROOT

MAY_IMPORT = {
    "config": {"serving", "workspaces", "batches", "streaming", "claude_api"},
    "serving": set(),
    "batches": {"workspaces", "leases", "claude_api"},
    "streaming": {"workspaces", "leases", "claude_api"},
    "workspaces": {"leases"},
    "leases": set(),
    "claude_api": set(),
    "sandbox": set(),
}
OURS = {*MAY_IMPORT, "tests", "benchmarks"}
JUNK_DRAWERS = {"utils", "helpers", "core", "common", "services", "signals"}


def source_files() -> list[Path]:
    """What is in the repository or about to be, as paths below the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [Path(line) for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def imported(path: Path) -> Iterator[str]:
    """The full names of the modules that a file imports, within functions, too."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


FILES = source_files()
IMPORTS = [(path, name) for path in FILES for name in imported(path)]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_one_way(package):
    allowed = MAY_IMPORT[package] | {package}
    wrong = [
        f"{path} imports {name}"
        for path, name in IMPORTS
        if path.parts[0] == package and name.partition(".")[0] in OURS - allowed
    ]
    assert wrong == []


def test_every_package_has_its_rule():
    packages = {path.parts[0] for path in FILES if path.name == "__init__.py"}
    assert packages - {"tests", "benchmarks"} == set(MAY_IMPORT)


def test_only_the_client_knows_the_http_library():
    wrong = [
        f"{path} imports {name}"
        for path, name in IMPORTS
        if name.partition(".")[0] in ("httpx", "httpx2")
        and path.parts[0] not in ("claude_api", "tests", "benchmarks")
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["claude_api", "sandbox"])
def test_what_stands_alone_knows_no_django(package):
    wrong = [
        f"{path} imports {name}"
        for path, name in IMPORTS
        if path.parts[0] == package and name.partition(".")[0] == "django"
    ]
    assert wrong == []


def test_no_module_is_a_junk_drawer():
    assert [path for path in FILES if JUNK_DRAWERS & {path.stem, *path.parts[:-1]}] == []
