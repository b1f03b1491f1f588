"""The one way in by password: the login page and the admin both come through here."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest

from astrid_site.accounts import throttling
from astrid_site.accounts.models import User
from astrid_site.core import audit
from astrid_site.core.addresses import client_address


class LoginBackend(ModelBackend):
    """Checks name and password, limits guesses, and writes each outcome to the audit trail."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        """The user, or None; refuses without looking at the password when the limit is reached.

        Unknown and known names cost the same: one password hash, one row, one audit entry.
        """
        if username is None or password is None:
            return None
        address = client_address(request) if request is not None else None
        if throttling.is_limited(username, address):
            if request is not None:
                request.META["astrid.login_limited"] = True
            raise PermissionDenied
        user = super().authenticate(request, username=username, password=password, **kwargs)
        if not isinstance(user, User):
            with transaction.atomic():
                failure = throttling.count_failure(username, address)
                audit.record(None, "login.failed", failure, address=address)
            return None
        with transaction.atomic():
            throttling.forget_failures(username, address)
            audit.record(user, "login.succeeded", user, address=address)
        return user


def was_limited(request: HttpRequest) -> bool:
    """Whether this request's login was refused for too many guesses."""
    return bool(request.META.get("astrid.login_limited"))
