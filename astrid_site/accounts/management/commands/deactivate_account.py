"""``manage.py deactivate_account NAME``: somebody leaves."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from astrid_site.accounts import services
from astrid_site.accounts.models import User


class Command(BaseCommand):
    """Closes an account: no login, no session, no key; verdicts and audit trail stay."""

    help = "Close an account; what the person decided stays on record under their name."

    def add_arguments(self, parser: CommandParser) -> None:
        """Whose account."""
        parser.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        """Close it, or say that there is no such account or that it is closed."""
        user = User.objects.filter(username=options["name"]).first()
        if user is None:
            msg = f"there is no account {options['name']}"
            raise CommandError(msg)
        is_new = services.deactivate_account(user)
        said = "is closed; verdicts stay" if is_new else "was closed before"
        self.stdout.write(f"The account {user.username} {said}.")
