"""The one account an embedded installation starts with; its password is never a default."""

from __future__ import annotations

from django.db import transaction

from astrid_site.accounts import services
from astrid_site.accounts.models import User

CURATOR = "curator"
#: The person at this keyboard submits images as well as judging what is found in them.
ROLE = "researcher"


def ensure_curator() -> str | None:
    """Make the account if there is none; returns its new password, or None if it was there."""
    with transaction.atomic():
        if User.objects.filter(username=CURATOR).exists():
            return None
        return services.create_account(CURATOR, role=ROLE)[1]


def give_new_password() -> str | None:
    """Replace the password; None when there is no such account."""
    user = User.objects.filter(username=CURATOR).first()
    return services.reset_password(user) if user else None
