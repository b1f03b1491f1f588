"""States of runs and jobs, and which state may follow which."""

from __future__ import annotations

from django.db import models


class RunStatus(models.TextChoices):
    """State of one stage's run on one observation."""

    PENDING = "pending", "pending"
    RUNNING = "running", "running"
    SUCCEEDED = "succeeded", "succeeded"
    SKIPPED = "skipped", "skipped"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


TERMINAL_RUNS = frozenset(
    {RunStatus.SUCCEEDED, RunStatus.SKIPPED, RunStatus.FAILED, RunStatus.CANCELLED}
)


class JobState(models.TextChoices):
    """State of one row of the job ledger."""

    QUEUED = "queued", "queued"
    RUNNING = "running", "running"
    DONE = "done", "done"
    SKIPPED = "skipped", "skipped"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


TERMINAL_JOBS = frozenset({JobState.DONE, JobState.SKIPPED, JobState.FAILED, JobState.CANCELLED})
