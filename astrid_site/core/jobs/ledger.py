"""Every change of a job row, each one conditional UPDATE that says whether it was ours.

All times are the database's: a worker with a wrong clock can neither steal a lease nor keep
one for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import F, Value
from django.db.models.functions import Greatest
from django.utils.module_loading import import_string

from astrid_site.core import events
from astrid_site.core.errors import LeaseLostError
from astrid_site.core.jobs.clock import back_off_s, db_time
from astrid_site.core.jobs.records import Claim, NextJob, Outcome
from astrid_site.core.jobs.ringing import ring_due
from astrid_site.core.models import Job
from astrid_site.core.reasons import Trouble, words_at_the_end, words_while_waiting
from astrid_site.core.status import TERMINAL_JOBS, JobState

_FREE: Mapping[str, Any] = {"token": None, "lease_until": None}


def _fresh(not_before_s: float = 0.0) -> dict[str, Any]:
    """Columns of a job that has never been tried."""
    return {
        **_FREE,
        "state": JobState.QUEUED,
        "attempts": 0,
        "crashes": 0,
        "progress": 0.0,
        "message": "",
        "cause": "",
        "trouble": "",
        "detail": "",
        "worker": "",
        "next_at": db_time(not_before_s),
        "rung_at": None,
        "started_at": None,
        "finished_at": None,
    }


def announce(job: Job) -> None:
    """Write the event of the job's present state into the caller's transaction."""
    events.publish(
        f"job.{job.state}",
        subject_id=job.subject_id,
        payload={
            "job": str(job.id),
            "kind": job.kind,
            "progress": job.progress,
            "message": job.message,
            "cause": job.cause,
        },
    )


def _announce_and_ring(job_id: UUID) -> Job:
    job = Job.objects.get(id=job_id)
    announce(job)
    # Robust: an exception here must not stop the hooks after it. Should the process die before
    # this runs, the sweeper rings instead.
    transaction.on_commit(ring_due, robust=True)
    return job


def submit(next_job: NextJob, *, revive: bool = False) -> Job:
    """Write a job in the caller's transaction, or return the row that already has its name.

    With ``revive`` a row that has ended is queued again.
    """
    name = {
        "kind": next_job.kind,
        "subject_id": next_job.subject_id,
        "config_version": next_job.config_version,
    }
    with transaction.atomic():
        draft = Job(
            **name,
            queue=next_job.queue,
            priority=next_job.priority,
            next_at=db_time(next_job.not_before_s),
        )
        # ON CONFLICT DO NOTHING: of two submissions at the same moment both read one row.
        Job.objects.bulk_create([draft], ignore_conflicts=True)
        job = Job.objects.get(**name)
        is_changed = job.id == draft.id
        if not is_changed and revive:
            ended = Job.objects.filter(id=job.id, state__in=TERMINAL_JOBS)
            is_changed = bool(ended.update(**_fresh(next_job.not_before_s)))
        return _announce_and_ring(job.id) if is_changed else job


def claim(job_id: UUID, *, worker: str) -> Claim | None:
    """Take a due, queued job; None when somebody else has it or it is not its time."""
    token = uuid4()
    with transaction.atomic():
        taken = Job.objects.filter(id=job_id, state=JobState.QUEUED, next_at__lte=db_time()).update(
            state=JobState.RUNNING,
            token=token,
            lease_until=db_time(settings.JOB_LEASE_S),
            attempts=F("attempts") + 1,
            worker=worker[:120],
            progress=0.0,
            message="",
            cause="",
            trouble="",
            started_at=db_time(),
            finished_at=None,
        )
        if not taken:
            return None
        job = Job.objects.get(id=job_id)
        announce(job)
    return Claim(
        job_id=job.id,
        kind=job.kind,
        subject_id=job.subject_id,
        token=token,
        attempt=job.attempts,
        crashes=job.crashes,
    )


def renew(claim: Claim) -> bool:
    """Prolong the lease; False when the job is no longer ours."""
    lease = db_time(settings.JOB_LEASE_S)
    return bool(Job.objects.filter(**claim.row()).update(lease_until=lease))


def report(claim: Claim, *, progress: float, message: str) -> None:
    """Store and announce how far the job is; the report also renews the lease."""
    with transaction.atomic():
        _change(
            claim,
            progress=progress,
            message=message[:300],
            lease_until=db_time(settings.JOB_LEASE_S),
        )
        events.publish(
            "job.progress",
            subject_id=claim.subject_id,
            payload={
                "job": str(claim.job_id),
                "kind": claim.kind,
                "progress": progress,
                "message": message[:300],
            },
        )


def _change(claim: Claim, **columns: Any) -> None:
    """Change the row under the fencing token, or raise and write nothing."""
    if not Job.objects.filter(**claim.row()).update(**columns):
        msg = f"{claim.kind} {claim.job_id}: the job was cancelled or belongs to another worker"
        raise LeaseLostError(msg)


def _end(claim: Claim, *, state: JobState, cause: str, **more: Any) -> Job:
    columns: dict[str, Any] = {"state": state, "cause": cause, "finished_at": db_time(), **_FREE}
    columns |= more
    if state == JobState.DONE:
        columns["progress"] = 1.0
    _change(claim, **columns)
    return Job.objects.get(id=claim.job_id)


def finish(claim: Claim, outcome: Outcome) -> None:
    """End the job, write its products and its successors: all of it, or none."""
    with transaction.atomic():
        # The token is tested first, so that a worker that lost its lease saves nothing.
        detail = outcome.detail.replace("\0", "")
        announce(_end(claim, state=outcome.state, cause=outcome.cause, detail=detail))
        for following in outcome.save():
            submit(following, revive=True)


def give_up(
    claim: Claim, trouble: Trouble, *, times: int = 1, said: str = "", raw: str = ""
) -> None:
    """End the job as failed by the ledger itself and tell the application."""
    cause = words_at_the_end(trouble, times=times, said=said)
    with transaction.atomic():
        job = _end(claim, state=JobState.FAILED, cause=cause, trouble=trouble, detail=raw)
        tell_lost(job)
        announce(job)


def tell_lost(job: Job) -> None:
    """Let the application mark what the failed job worked on, in the same transaction."""
    import_string(settings.JOB_LOST_HANDLER)(job)


def postpone(claim: Claim, reason: str, *, retry_in_s: float) -> None:
    """Queue the job for later because its time has not come; not counted as an attempt."""
    with transaction.atomic():
        _change(
            claim,
            **_FREE,
            state=JobState.QUEUED,
            attempts=F("attempts") - 1,
            next_at=db_time(retry_in_s),
            cause=reason,
            rung_at=None,
        )
        announce(Job.objects.get(id=claim.job_id))


def try_again(claim: Claim, trouble: Trouble, *, raw: str = "") -> None:
    """Queue the job with back-off after a passing trouble, or give up at the cap."""
    times = claim.errors
    if times >= settings.JOB_MAX_ATTEMPTS:
        give_up(claim, trouble, times=times, raw=raw)
        return
    with transaction.atomic():
        _change(
            claim,
            **_FREE,
            state=JobState.QUEUED,
            next_at=db_time(back_off_s(times)),
            cause=words_while_waiting(trouble, times=times),
            trouble=trouble,
            detail=raw,
            rung_at=None,
        )
        announce(Job.objects.get(id=claim.job_id))


def cancel(job: Job) -> bool:
    """End a job nobody wants any more; a worker that still computes it can write nothing."""
    with transaction.atomic():
        live = Job.objects.filter(id=job.id, state__in=[JobState.QUEUED, JobState.RUNNING])
        if not live.update(
            **_FREE, state=JobState.CANCELLED, cause="cancelled", finished_at=db_time()
        ):
            return False
        announce(Job.objects.get(id=job.id))
    return True


def retry(job: Job) -> bool:
    """Queue an ended job again with all its attempts; False if it is queued or running."""
    with transaction.atomic():
        ended = Job.objects.filter(id=job.id, state__in=TERMINAL_JOBS)
        if not ended.update(**_fresh()):
            return False
        _announce_and_ring(job.id)
    return True


def expire_leases(*, worker: str | None = None) -> int:
    """End the leases of a worker known to be dead, so that the sweeper need not wait for them.

    Without a name those of all workers: only for the one process that knows that none is alive,
    the launcher of the embedded installation before it starts some.
    """
    held = Job.objects.filter(state=JobState.RUNNING)
    if worker is not None:
        held = held.filter(worker=worker[:120])
    return held.update(lease_until=db_time(-1))


def release_running() -> int:
    """Queue every running job again at once, as if it had not been begun.

    Only for the launcher of the embedded installation, after it stopped its workers.
    """
    return Job.objects.filter(state=JobState.RUNNING).update(
        **_FREE,
        state=JobState.QUEUED,
        attempts=Greatest(F("attempts") - 1, Value(0)),
        next_at=db_time(),
        rung_at=None,
    )
