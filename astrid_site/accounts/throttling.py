"""How often somebody may guess: failed logins counted per account and per address.

The counters are rows, not cache entries: rows are exact when attempts come at the same moment
(a cache on a database reads, adds and writes) and survive a restart. They are keyed by what was
typed, whether or not such an account exists, so the answer tells nothing about that.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

from django.db.models.functions import Now
from rest_framework.throttling import SimpleRateThrottle

from astrid_site.accounts.models import LoginFailure

#: Failures older than this are of no more use.
KEPT_FOR = timedelta(days=1)


class LoginRate(SimpleRateThrottle):
    """Reads the rate of the settings; the counting is done by rows."""

    scope = "login"


def login_limit() -> tuple[int, timedelta]:
    """Failures allowed, and the time in which they are counted."""
    throttle = LoginRate()
    allowed, seconds = throttle.parse_rate(throttle.get_rate())
    return allowed or 0, timedelta(seconds=seconds or 0)


def is_limited(username: str, address: str | None) -> bool:
    """Whether the account or the address has used up its guesses."""
    allowed, window = login_limit()
    recent = LoginFailure.objects.filter(created_at__gt=Now() - window)
    if recent.filter(account=account_digest(username)).count() >= allowed:
        return True
    return address is not None and recent.filter(address=address).count() >= allowed


def count_failure(username: str, address: str | None) -> LoginFailure:
    """Remember one failed login, and forget those of days past."""
    LoginFailure.objects.filter(created_at__lt=Now() - KEPT_FOR).delete()
    return LoginFailure.objects.create(account=account_digest(username), address=address)


def forget_failures(username: str, address: str | None) -> None:
    """After a success: this person at this address did not guess."""
    LoginFailure.objects.filter(account=account_digest(username), address=address).delete()


def account_digest(username: str) -> str:
    """Hash of the typed name; people type passwords there, so the text itself is not kept."""
    return hashlib.sha256(username.strip().casefold().encode("utf-8", "replace")).hexdigest()
