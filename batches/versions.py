"""A program and a database of different versions do not work together: one of them waits."""

from functools import cache
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

Migrations = frozenset[tuple[str, str]]


def find_difference() -> str:
    """A sentence where the tables are not those that this program was written for; else empty."""
    ours = own_apps()
    applied = set(MigrationRecorder(connection).applied_migrations())
    known = known_migrations()
    missing, newer = known - applied, {one for one in applied - known if one[0] in ours}
    if missing:
        return f"The database is older than this program ({name_one(missing)}): migrate it."
    if newer:
        return f"The database is newer than this program ({name_one(newer)}): start the new one."
    return ""


def name_one(migrations: set[tuple[str, str]] | Migrations) -> str:
    return ".".join(min(migrations))


@cache
def own_apps() -> frozenset[str]:
    """Those that lie beside manage.py; what others bring is changed with less care."""
    found = apps.get_app_configs()
    return frozenset(app.label for app in found if Path(app.path).parent == settings.BASE_DIR)


@cache
def known_migrations() -> Migrations:
    """The code of a process does not change, so neither do they."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    return frozenset(name for name in loader.disk_migrations if name[0] in own_apps())
