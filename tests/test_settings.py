"""Nonsense in the environment is refused with a sentence that names the variable."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

ROOT = Path(__file__).parents[1]
# Reads the settings once for each environment on stdin; tells the error, or one setting.
READER = """
import json, os, runpy, sys
base = dict(os.environ)
answers = []
for changes, setting in json.load(sys.stdin):
    os.environ.clear()
    os.environ.update(base | changes)
    try:
        found = runpy.run_path("config/settings.py")
        answers.append(["", str(found.get(setting))])
    except Exception as error:
        answers.append([type(error).__name__, str(error)])
json.dump(answers, sys.stdout)
"""
NONSENSE = [
    ("DEBUG", "maybe"),
    ("SLUICE_DEMO", "maybe"),
    ("SECRET_KEY", "short"),
    ("SLUICE_ENCRYPTION_KEYS", "hello"),
    ("SLUICE_ENCRYPTION_KEYS", f"{Fernet.generate_key().decode()},"),
    ("ALLOWED_HOSTS", "*"),
    ("CLAUDE_API_URL", "http://api.example.org"),
    ("CLAUDE_API_URL", "https://user:secret@api.example.org"),
    ("CLAUDE_API_URL", "api.example.org"),
    ("CLAUDE_API_URL", "https://api.example.org:x"),
    ("SANDBOX_URL", "http://192.168.0.1:8765"),
    ("CLAUDE_API_VERSION", "latest"),
    ("DATABASE_URL", "mysql://localhost/sluice"),
    ("DATABASE_URL", "nonsense"),
    ("REDIS_URL", "http://localhost"),
    ("SLUICE_SETTLE_SECONDS", "soon"),
    ("SLUICE_LISTING_SECONDS", "-1"),
    ("SLUICE_FREE_DISK", "1 GB"),
    ("ALLAUTH_TRUSTED_PROXY_COUNT", "one"),
    ("EMAIL_URL", "nonsense"),
    ("SLUICE_HTTPS", "2"),
    ("SECURE_HSTS_PRELOAD", "perhaps"),
]
SENSE = [
    ({"SANDBOX_URL": "http://127.0.0.1:8765/"}, "SANDBOX_URL", "http://127.0.0.1:8765"),
    ({"DEBUG": "yes"}, "DEBUG", "True"),
    ({"SLUICE_DEMO": "yes"}, "DEMO", "True"),
    ({"ALLOWED_HOSTS": "a.org, b.org,"}, "ALLOWED_HOSTS", "['a.org', 'b.org']"),
    ({"SLUICE_HTTPS": "true"}, "SESSION_COOKIE_NAME", "__Host-sessionid"),
    ({"SLUICE_SETTLE_SECONDS": "0.5"}, "SETTLE_SECONDS", "0.5"),
    ({"SLUICE_FREE_DISK": "250"}, "FREE_DISK", "250000000"),
    ({"EMAIL_URL": "smtp+tls://u:p@mail.example.org:587"}, "EMAIL_HOST", "mail.example.org"),
    ({"EMAIL_URL": ""}, "EMAIL_BACKEND", "django.core.mail.backends.dummy.EmailBackend"),
]


def read_settings(cases: list[tuple[dict[str, str], str]]) -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", READER],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    answers: list[list[str]] = json.loads(done.stdout)
    return answers


def test_nonsense_is_refused_by_the_name_of_its_variable() -> None:
    answers = read_settings([({name: value}, "") for name, value in NONSENSE])
    for (name, value), (kind, sentence) in zip(NONSENSE, answers, strict=True):
        assert kind == "ImproperlyConfigured", (name, value, sentence)
        assert sentence.startswith(name), (name, value, sentence)
        assert "secret@" not in sentence


def test_sense_is_read() -> None:
    answers = read_settings([(changes, setting) for changes, setting, _ in SENSE])
    assert answers == [["", expected] for _, _, expected in SENSE]


def test_secrets_that_are_not_given_are_made_once_for_the_owner_only(tmp_path: Path) -> None:
    changes = {"SECRET_KEY": "", "SLUICE_ENCRYPTION_KEYS": "", "SLUICE_DATA_DIR": str(tmp_path)}
    first, second = read_settings([(changes, "SECRET_KEY"), (changes, "SECRET_KEY")])
    assert first == second
    assert len(first[1]) >= 50
    for name in ("secret_key", "encryption_keys"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def manage(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=os.environ | environment
    )


@pytest.fixture
def production(tmp_path: Path) -> dict[str, str]:
    return {
        "SECRET_KEY": "for-a-test-only-" + "0123456789abcdefghij" * 4,
        "DEBUG": "false",
        "SLUICE_HTTPS": "true",
        "ALLOWED_HOSTS": "sluice.example.org",
        "SLUICE_DATA_DIR": str(tmp_path),
    }


def test_check_deploy_is_clean_with_production_settings(production: dict[str, str]) -> None:
    done = manage(production, "check", "--deploy", "--fail-level", "INFO")
    assert done.returncode == 0, done.stderr
    assert "no issues (2 silenced)" in done.stdout + done.stderr
    silenced = re.findall(r'"(security\.W\d+)"', (ROOT / "config/settings.py").read_text())
    assert silenced == ["security.W005", "security.W021"]
