"""The one account an embedded installation starts with; its password is never a default."""

from __future__ import annotations

import secrets

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import transaction

from astrid_site.core import audit

CURATOR = "curator"
ROLES = ("curator", "researcher")


def ensure_curator() -> str | None:
    """Make the account if there is none; returns its new password, or None if it was there."""
    users = get_user_model()
    with transaction.atomic():
        if users.objects.filter(username=CURATOR).exists():
            return None
        password = secrets.token_urlsafe(12)
        # staff: curation in bulk happens in the admin, which shows what the roles allow
        user = users.objects.create_user(username=CURATOR, password=password, is_staff=True)
        # The person at this keyboard submits images as well as judging what is found in them.
        user.groups.set(Group.objects.filter(name__in=ROLES))
        audit.record(None, "account.created", user, after={"roles": list(ROLES)})
    return password


def give_new_password() -> str | None:
    """Replace the password; None when there is no such account."""
    with transaction.atomic():
        user = get_user_model().objects.filter(username=CURATOR).first()
        if user is None:
            return None
        password = secrets.token_urlsafe(12)
        user.set_password(password)
        user.save(update_fields=["password"])
        audit.record(None, "account.password_reset", user)
    return password
