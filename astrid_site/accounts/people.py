"""Who asks."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from astrid_site.accounts.models import User


def signed_in(request: HttpRequest) -> User:
    """The user who is logged in; views call it behind ``login_required``."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user
