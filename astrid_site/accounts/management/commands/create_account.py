"""``manage.py create_account NAME --role ROLE``: let a person in."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from astrid_site.accounts import services
from astrid_site.accounts.models import User
from astrid_site.accounts.roles import ROLE_STEPS


class Command(BaseCommand):
    """Makes an account with a fresh random password and prints it once."""

    help = "Create an account with a role; its fresh password is printed once."

    def add_arguments(self, parser: CommandParser) -> None:
        """The name and the role."""
        parser.add_argument("name")
        parser.add_argument("--role", choices=list(ROLE_STEPS), default="curator")

    def handle(self, *args: Any, **options: Any) -> None:
        """Create it, or say that the name is taken."""
        name = options["name"]
        if User.objects.filter(username=name).exists():
            msg = f"there is an account {name} already; see manage.py reset_password"
            raise CommandError(msg)
        _, password = services.create_account(name, role=options["role"])
        self.stdout.write(f"Account:  {name} ({options['role']})\nPassword: {password}")
