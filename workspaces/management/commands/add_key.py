import getpass
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workspaces.keys import KeyMalformed, save_key
from workspaces.lookup import workspace_named
from workspaces.models import ApiKey


class Command(BaseCommand):
    help = "Save a workspace's API key, read from stdin or typed unseen; the old one is retired."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workspace", metavar="SLUG")
        parser.add_argument("--api", choices=ApiKey.Api.values, default=ApiKey.Api.CLAUDE)

    def handle(self, *, workspace: str, api: str, **options: Any) -> None:
        found = workspace_named(workspace)
        try:
            key = save_key(found, api, read_key())
        except KeyMalformed as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{key} is saved for {found.slug}.")


def read_key() -> str:
    # Never an argument: those are in the shell's history and in the list of processes.
    return getpass.getpass("API key: ") if sys.stdin.isatty() else sys.stdin.read()
