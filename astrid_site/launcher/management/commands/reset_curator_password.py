"""Gives the curator of an embedded installation a new password."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from astrid_site.launcher.first_account import CURATOR, give_new_password


class Command(BaseCommand):
    """Prints a new password, once."""

    help = f"Give the account '{CURATOR}' a new password and print it."

    def handle(self, *args: Any, **options: Any) -> None:
        """Set and print it."""
        password = give_new_password()
        if password is None:
            msg = f"there is no account '{CURATOR}'; run_astrid makes it"
            raise CommandError(msg)
        self.stdout.write(f"account {CURATOR}, new password {password}")
