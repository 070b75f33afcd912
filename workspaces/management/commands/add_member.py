import getpass
import secrets
import sys
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from workspaces.lookup import workspace_named
from workspaces.models import Membership
from workspaces.people import LastOwner, set_role


class Command(BaseCommand):
    help = (
        "Let a user into a workspace, or change the role. A user who does not exist is made, "
        "with a random password that is printed once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("workspace", metavar="SLUG")
        parser.add_argument("user", help="the name to sign in with")
        parser.add_argument("role", choices=Membership.Role.values)
        parser.add_argument("--email", default="", help="for a new user")
        parser.add_argument(
            "--password-stdin", action="store_true", help="read a new user's password from stdin"
        )

    def handle(self, **options: Any) -> None:
        workspace = workspace_named(options["workspace"])
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            user = self.make_user(options)
        elif options["password_stdin"] or options["email"]:
            raise CommandError(
                f"{user.username} exists: --email and --password-stdin are for a new user. "
                "The password is changed with `manage.py changepassword`."
            )
        try:
            membership = set_role(workspace, user, options["role"])
        except LastOwner as error:
            raise CommandError(str(error)) from None
        role = membership.get_role_display().lower()
        self.stdout.write(f"{user.username} is {role} of {workspace.slug}.")

    def make_user(self, options: dict[str, Any]) -> User:
        user = User(username=options["user"], email=options["email"])
        password = read_password() if options["password_stdin"] else secrets.token_urlsafe(12)
        try:
            validate_password(password, user)
            user.set_password(password)
            user.full_clean()
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        user.save()
        if not options["password_stdin"]:
            self.stdout.write(f"Password of {user.username}: {password}")
        return user


def read_password() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("Password: ")
    return sys.stdin.readline().rstrip("\r\n")
