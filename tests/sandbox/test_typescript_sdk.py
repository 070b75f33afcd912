"""The official TypeScript SDK, given a key and a base URL and nothing else."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Sandbox

HERE = Path(__file__).parent / "typescript"
FILES = (".npmrc", "package.json", "package-lock.json", "judge.mjs")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the judge and the SDK of the lock file."""
    for program, package in (("node", "nodejs"), ("npm", "npm")):
        if shutil.which(program) is None:
            pytest.skip(f"needs the Debian package {package}")
    directory = tmp_path_factory.mktemp("typescript")
    for name in FILES:
        shutil.copy(HERE / name, directory)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    ended = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return directory


def judge(directory: Path, url: str, key: str) -> dict[str, Any]:
    environment = {**os.environ, "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": key}
    ended = subprocess.run(
        ["node", "judge.mjs"],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_it_works(installed: Path, sandbox: Sandbox, scope: str) -> None:
    seen = judge(installed, sandbox.url, scope)
    assert seen["streamed"]["text"] == seen["streamed"]["final"] != ""
    assert seen["streamed"]["stopReason"] == "end_turn"
    assert {"message_start", "thinking_delta", "signature_delta", "text_delta"} < {*seen["events"]}
    assert seen["tool"] == {"city": "Lisbon"}
    assert seen["batch"] == {
        "results": {"a": "succeeded", "b": "succeeded"},
        "listed": True,
        "canceled": "ended",
        "deleted": "message_batch_deleted",
    }
    assert seen["refused"] == {"notFound": True, "status": 404}
    assert seen["tokens"] > 5
    assert seen["model"] == "Claude Haiku 4.5"
