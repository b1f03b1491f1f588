"""Return the jobs of dead workers to the queue."""

from __future__ import annotations

import logging

from django.conf import settings
from django.db import transaction

from astrid_site.core.jobs import ledger
from astrid_site.core.jobs.clock import back_off_s, db_time
from astrid_site.core.jobs.records import SweepReport
from astrid_site.core.jobs.ringing import ring_due
from astrid_site.core.models import Job
from astrid_site.core.reasons import Trouble, words_at_the_end, words_while_waiting
from astrid_site.core.status import JobState

logger = logging.getLogger(__name__)

EXPIRED_PER_SWEEP = 200


def sweep() -> SweepReport:
    """Look after every job whose worker is silent or was never told; may run twice at once."""
    requeued, failed = _return_expired()
    return SweepReport(requeued=requeued, failed=failed, rung=ring_due())


def _return_expired() -> tuple[int, int]:
    requeued = failed = 0
    expired = Job.objects.filter(state=JobState.RUNNING, lease_until__lt=db_time())
    for job in expired.order_by("lease_until")[:EXPIRED_PER_SWEEP]:
        try:
            ended = _return_one(job)
        except Exception:
            # One row whose failure cannot be written must not keep all others waiting.
            logger.exception("cannot return job %s", job.id)
            continue
        requeued += ended == JobState.QUEUED
        failed += ended == JobState.FAILED
    return requeued, failed


def _return_one(job: Job) -> JobState | None:
    """Queue or fail one expired job; None when its worker, or another sweeper, was faster."""
    # counted apart from errors: a job is not to blame for every death of its worker, and yet one
    # that kills each worker it meets must end
    crashes = job.crashes + 1
    is_last = crashes >= settings.JOB_MAX_CRASHES
    state = JobState.FAILED if is_last else JobState.QUEUED
    tell = words_at_the_end if is_last else words_while_waiting
    cause = tell(Trouble.WORKER_DIED, times=crashes)
    with transaction.atomic():
        mine = Job.objects.filter(
            id=job.id, token=job.token, state=JobState.RUNNING, lease_until__lt=db_time()
        ).update(
            state=state,
            cause=cause,
            trouble=Trouble.WORKER_DIED,
            crashes=crashes,
            token=None,
            lease_until=None,
            rung_at=None,
            next_at=db_time(0.0 if is_last else back_off_s(crashes)),
            finished_at=db_time() if is_last else None,
        )
        if not mine:
            return None
        job.refresh_from_db()
        if is_last:
            ledger.tell_lost(job)
        ledger.announce(job)
    logger.warning("%s %s: %s, now %s", job.kind, job.id, cause, state)
    return state
