import sys
from typing import Any

from django.core.management.base import BaseCommand

from workspaces.keys import rotate_keys


class Command(BaseCommand):
    help = (
        "Encrypt every saved API key with the first key of SLUICE_ENCRYPTION_KEYS. Run it after "
        "putting a new key in front; afterwards the old ones may go. Broken off, run it again."
    )

    def handle(self, **options: Any) -> None:
        rotation = rotate_keys()
        for sentence in rotation.unreadable:
            self.stderr.write(sentence)
        self.stdout.write(
            f"{rotation.rotated:,} encrypted anew, {rotation.current:,} already were, "
            f"{len(rotation.unreadable):,} cannot be opened."
        )
        if rotation.unreadable:
            sys.exit(1)
