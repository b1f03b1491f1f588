"""Putting an object off until something has happened."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from astrid_site.core.errors import ApplicationError
from catalog.selectors import object_of
from curation.models import Assignment, Snooze
from detection.models import Detection

if TYPE_CHECKING:
    from astrid_site.accounts.models import User

#: What people wait for, in the order of the page.
CONDITIONS = {
    "detection": "one more detection",
    "magnitude": "brighter than",
    "day": "a day from now",
    "week": "a week from now",
}
_DELAYS = {"day": timedelta(days=1), "week": timedelta(weeks=1)}


def snooze(
    detection: Detection, curator: User, *, condition: str, magnitude: float | None = None
) -> Snooze:
    """Put a candidate's object off until a condition is met; others may have it meanwhile.

    Raises
    ------
    ApplicationError
        If the condition is none of ours, lacks its magnitude, or can never be met.
    """
    owner = object_of(detection.pk)
    if condition not in CONDITIONS:
        msg = f"condition: must be one of {', '.join(CONDITIONS)}, got {condition!r}"
        raise ApplicationError(msg)
    if condition == "magnitude" and magnitude is None:
        msg = "magnitude: say how bright it must become"
        raise ApplicationError(msg)
    if owner is None and condition not in _DELAYS:
        msg = "a candidate without a place on the sky is never detected again: choose a time"
        raise ApplicationError(msg)
    wait: dict[str, Any] = {"until": None, "n_detections": None, "magnitude": None}
    if condition == "detection" and owner is not None:
        wait["n_detections"] = owner.n_detections
    elif condition == "magnitude":
        wait["magnitude"] = magnitude
    else:
        wait["until"] = timezone.now() + _DELAYS[condition]
    unit = owner.pk if owner is not None else detection.pk
    with transaction.atomic():
        mine = Assignment.objects.filter(unit=unit, curator=curator)
        mine.filter(until__isnull=False).delete()
        row, _ = Snooze.objects.update_or_create(unit=unit, curator=curator, defaults=wait)
    return row


def wake(detection: Detection, curator: User) -> None:
    """Show a candidate's object again as if it had not been put off."""
    owner = object_of(detection.pk)
    unit = owner.pk if owner is not None else detection.pk
    Snooze.objects.filter(unit=unit, curator=curator).delete()
