"""The clock that every lease is measured by: the database's, since hosts may disagree."""

from datetime import UTC, datetime

from django.db import connection


def database_now() -> datetime:
    """The time of the database server; SQLite has none of its own, its host is this one."""
    if connection.vendor != "postgresql":
        return datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]
