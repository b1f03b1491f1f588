"""Candidates that come back to whoever called them bogus among many."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from django.utils import timezone

from curation.models import SpotCheck
from detection.models import Detection

if TYPE_CHECKING:
    from astrid_site.accounts.models import User

#: One of so many that were called bogus at once is shown again by itself.
ONE_IN = 10


def draw_checks(curator: User, detections: Iterable[UUID], *, batch: UUID) -> None:
    """Draw what is shown again, each by itself: few on a page are checked as often as many."""
    drawn = [key for key in detections if secrets.randbelow(ONE_IN) == 0]
    SpotCheck.objects.bulk_create(
        [SpotCheck(curator=curator, detection_id=key, batch=batch) for key in drawn]
    )


def answer_check(detection: Detection, curator: User, *, label: str) -> None:
    """Note what is said of a candidate that came back, in the verdict's transaction."""
    mine = SpotCheck.objects.filter(detection=detection, curator=curator, answered_at=None)
    mine.update(answered_at=timezone.now(), label=label)
