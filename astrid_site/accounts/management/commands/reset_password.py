"""``manage.py reset_password NAME``: a fresh password for somebody who lost theirs."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from astrid_site.accounts import services
from astrid_site.accounts.models import User


class Command(BaseCommand):
    """Prints a fresh password once; every session of the account ends."""

    help = "Give an account a fresh random password and print it once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Whose password."""
        parser.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        """Replace it, or say that there is no such account."""
        user = User.objects.filter(username=options["name"]).first()
        if user is None:
            msg = f"there is no account {options['name']}"
            raise CommandError(msg)
        self.stdout.write(f"Password: {services.reset_password(user)}")
