"""Working the ledger off inside a test, without a broker and without waiting."""

from __future__ import annotations

from django.db.models.functions import Now

from astrid_site.core import jobs
from astrid_site.core.models import Job
from astrid_site.core.status import JobState
from observations.services.queue import next_due


def drain(*, limit: int = 500) -> int:
    """Run jobs in the queue's order until none is left; those that wait are asked at once."""
    for n in range(limit):
        job_id = next_due()
        if job_id is None:
            if not Job.objects.filter(state=JobState.QUEUED).update(next_at=Now()):
                return n
            job_id = next_due()
        if job_id is not None:
            jobs.run(job_id)
    msg = f"the ledger is not empty after {limit} runs"
    raise AssertionError(msg)
