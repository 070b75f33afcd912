"""What every test stands on: an environment of its own, no silent ERROR, no silent skip."""

import atexit
import logging
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pytest_django import Settings

DIRECTORY = Path(tempfile.mkdtemp(prefix="sluice-tests-"))
atexit.register(shutil.rmtree, DIRECTORY, ignore_errors=True)


def database_url() -> str:
    """A database of its own for each process that runs tests."""
    given = os.environ.get("SLUICE_TEST_DATABASE_URL")
    if not given:
        return f"sqlite:///{DIRECTORY / 'sluice.sqlite3'}"
    return f"{given}_{os.environ.get('PYTEST_XDIST_WORKER', 'tests')}"


# Complete, so that nothing of the person's own .env or shell reaches a test; inherited by every
# process that a test starts. Names are set to "" where absence is meant.
ENVIRONMENT = {
    "DJANGO_SETTINGS_MODULE": "config.settings",
    "SECRET_KEY": "for-tests-only-" + "0123456789abcdef" * 4,
    "DEBUG": "false",
    "SLUICE_DEMO": "false",
    "ALLOWED_HOSTS": "localhost,127.0.0.1,testserver",
    "DATABASE_URL": database_url(),
    "REDIS_URL": "",
    "SLUICE_DATA_DIR": str(DIRECTORY / "data"),
    "SLUICE_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "SLUICE_HTTPS": "false",
    "CLAUDE_API_URL": "https://api.anthropic.com",
    "CLAUDE_API_VERSION": "2026-10-21",
    "SANDBOX_URL": "",
    "ANTHROPIC_API_KEY": "",
    "SLUICE_SETTLE_SECONDS": "900",
    "SLUICE_LISTING_SECONDS": "60",
    "SLUICE_FREE_DISK": "0",
    "ALLAUTH_TRUSTED_PROXY_COUNT": "0",
    "EMAIL_URL": "",
    "DEFAULT_FROM_EMAIL": "sluice@localhost",
    "SECURE_HSTS_INCLUDE_SUBDOMAINS": "false",
    "SECURE_HSTS_PRELOAD": "false",
}
os.environ.update(ENVIRONMENT)
os.environ.pop("SLUICE_PARENT", None)

import django  # noqa: E402

django.setup()

pytest_plugins = ["tests.processes", "tests.browser", "tests.cast"]
PACKAGE = re.compile(r"needs the Debian package (\S+)")
missing_packages: set[str] = set()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # What the tests write is gone after them, and runs at the same time do not meet.
    config.option.basetemp = config.option.basetemp or DIRECTORY / "tests"
    if getattr(config.option, "numprocesses", None):
        # The processes that run the tests would else set Django up with the database of this one.
        os.environ.pop("DJANGO_SETTINGS_MODULE", None)


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """The test database is the one that DATABASE_URL names, so processes of a test find it."""
    from django.conf import settings

    database = settings.DATABASES["default"]
    database.setdefault("TEST", {})["NAME"] = database["NAME"]


@pytest.fixture(autouse=True)
def archive(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data directory for each test and for the processes that it starts."""
    directory = tmp_path / "data"
    directory.mkdir()
    settings.DATA_DIR = directory
    monkeypatch.setenv("SLUICE_DATA_DIR", str(directory))
    return directory


@pytest.fixture(autouse=True)
def no_logged_errors(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    yield
    if request.node.get_closest_marker("logs_errors"):
        return
    records = [*caplog.get_records("setup"), *caplog.get_records("call")]
    errors = [record for record in records if record.levelno >= logging.ERROR]
    if errors:
        lines = "\n".join(f"{error.name}: {error.getMessage()}" for error in errors)
        pytest.fail(f"an ERROR was logged (mark the test logs_errors if meant):\n{lines}")


@pytest.fixture
def scope() -> str:
    """An API key whose scope in the sandbox no other test shares."""
    return f"sk-ant-{secrets.token_hex(6)}-test"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Playwright keeps an event loop running in this thread once it started, in which no
    # asyncio test can run: browser tests come last.
    items.sort(key=lambda item: "browser" in getattr(item, "fixturenames", ()))


def in_continuous_integration() -> bool:
    return os.environ.get("CI", "").lower() in ("true", "1")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    return refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    return refuse_skip((yield))


def refuse_skip(report: pytest.TestReport) -> pytest.TestReport:
    """Where everything can be installed, a skip is a failure."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return report
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if in_continuous_integration():
        report.outcome = "failed"
        report.longrepr = f"skipped where CI=true: {reason}"
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    note_missing(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    note_missing(report)


def note_missing(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Told of every report, also of those that another process made."""
    if report.skipped:
        missing_packages.update(PACKAGE.findall(str(report.longrepr)))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if missing_packages and not hasattr(config, "workerinput"):
        names = " ".join(sorted(missing_packages))
        sys.stdout.write(f"Not tested: install {names} to run the skipped tests.\n")
    # A process of xdist ends without what is registered at exit.
    shutil.rmtree(DIRECTORY, ignore_errors=True)
