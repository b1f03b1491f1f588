"""Looking at the ledger's queue from a process that works it off by itself."""

from __future__ import annotations

from uuid import UUID

from django.db.models.functions import Now
from django.utils import timezone

from astrid_site.core.models import Job
from astrid_site.core.status import JobState


def next_due() -> UUID | None:
    """The job a worker would be rung for first."""
    due = Job.objects.filter(state=JobState.QUEUED, next_at__lte=Now())
    return due.order_by("-priority", "created_at").values_list("pk", flat=True).first()


def seconds_to_next() -> float | None:
    """Seconds until the next queued job is due, at least 0.05; None if none is queued."""
    first = Job.objects.filter(state=JobState.QUEUED).order_by("next_at").first()
    if first is None:
        return None
    return max((first.next_at - timezone.now()).total_seconds(), 0.05)
