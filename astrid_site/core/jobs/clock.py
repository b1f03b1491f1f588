"""Times of the ledger: the database's clock, and how long to wait after a failure."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models import DateTimeField, Expression, ExpressionWrapper
from django.db.models.functions import Now

BACK_OFF_CAP_S = 300.0


def db_time(after_s: float = 0.0) -> Expression:
    """The database's clock, ``after_s`` seconds from now."""
    if not after_s:
        return Now()
    return ExpressionWrapper(Now() + timedelta(seconds=after_s), output_field=DateTimeField())


def back_off_s(attempts: int) -> float:
    """Wait after the given number of attempts: doubles each time, up to five minutes."""
    wait = float(settings.JOB_BACKOFF_S) * 2.0 ** max(attempts - 1, 0)
    return min(wait, BACK_OFF_CAP_S)
