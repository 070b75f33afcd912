from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_slug

from workspaces.people import SlugTaken, create_workspace


class Command(BaseCommand):
    help = "Make a workspace, and print its address (slug)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--slug", default="", help="made from the name if left out")

    def handle(self, *, name: str, slug: str, **options: Any) -> None:
        name = name.strip()
        if not 0 < len(name) <= 100 or not name.isprintable():
            raise CommandError("NAME has 1 to 100 printable characters.")
        if slug:
            refuse_malformed(slug)
        try:
            workspace = create_workspace(name, slug)
        except SlugTaken as error:
            raise CommandError(str(error)) from None
        self.stdout.write(workspace.slug)


def refuse_malformed(slug: str) -> None:
    try:
        validate_slug(slug)
    except ValidationError:
        raise CommandError("--slug has letters, digits, - and _ only.") from None
    if len(slug) > 50:
        raise CommandError("--slug has at most 50 characters.")
