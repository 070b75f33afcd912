"""Run by a test as a process of its own: claims uploads until none is due, prints their ids."""

import sys
from datetime import datetime

import django

django.setup()

from batches.models import Upload  # noqa: E402
from leases.models import owner_name  # noqa: E402


def claim_all(owner: str, at: datetime) -> list[int]:
    claimed = []
    while Upload.objects.due(at).exists():
        if row := Upload.objects.claim(owner, at):
            claimed.append(row.pk)
    return claimed


if __name__ == "__main__":
    for key in claim_all(owner_name(), datetime.fromisoformat(sys.argv[1])):
        sys.stdout.write(f"{key}\n")
