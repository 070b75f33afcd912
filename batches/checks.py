"""What has to be true before a program of ours takes up its work with this database."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError, connection

from batches.models import Worker
from leases.clock import database_now
from leases.models import machine_name


@register(Tags.database)
def check_one_host(databases: Iterable[str] | None = None, **options: Any) -> list[CheckMessage]:
    """SQLite keeps its locks in the memory of one machine: a second one would damage the file."""
    if not databases or connection.vendor != "sqlite":
        return []
    try:
        other = find_other_host(database_now())
    except DatabaseError:
        # Before the first migration there is nobody to ask about.
        return []
    if other is None:
        return []
    return [
        Error(
            f"A worker on {host_of(other)} is at work on this database, which is SQLite and can "
            "be used by one machine only.",
            hint="Stop it and wait a minute, or use PostgreSQL: docs/running.md.",
            id="sluice.E001",
        )
    ]


def find_other_host(at: datetime) -> Worker | None:
    """A worker of another machine that has said lately that it works."""
    return next((one for one in Worker.objects.alive(at) if is_elsewhere(one.host)), None)


def is_elsewhere(host: str) -> bool:
    """Containers of one machine share its start, and a machine that started anew its name."""
    here = machine_name().split("/")
    there = host.split("/")
    return len(there) == len(here) and there[0] != here[0] and there[1] != here[1]


def host_of(worker: Worker) -> str:
    return worker.host.partition("/")[0]
