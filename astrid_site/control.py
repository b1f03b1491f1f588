"""What people do to an observation's way through the pipeline: start, retry, restart, cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from astrid_site import pipeline
from astrid_site.core import audit, jobs
from astrid_site.core.errors import ApplicationError
from astrid_site.core.models import Job
from astrid_site.core.status import TERMINAL_JOBS, RunStatus
from catalog.services import forget_points
from differencing.models import ReferenceImage
from observations.models import Observation
from observations.services.runs import end_run, mirror, reset_run

if TYPE_CHECKING:
    from astrid_site.accounts.models import User


def start(observation: Observation) -> Job:
    """Write an observation's first job, in the caller's transaction."""
    return jobs.submit(pipeline.job_of(pipeline.STAGES[0], observation.pk))


def retry(observation: Observation, actor: User | None) -> Job:
    """Run the stage at which an observation ended once more.

    Raises
    ------
    ApplicationError
        If it did not fail, was not skipped and was not cancelled.
    """
    with transaction.atomic():
        current = Observation.objects.select_for_update().get(pk=observation.pk)
        if current.status not in {RunStatus.FAILED, RunStatus.SKIPPED, RunStatus.CANCELLED}:
            msg = f"the observation is {current.status}; only one that has stopped can be retried"
            raise ApplicationError(msg)
        stage = pipeline.STAGE_BY_NAME.get(current.stage, pipeline.STAGES[0])
        if run := pipeline.run_of(stage, current.pk):
            reset_run(run)
        mirror(current.pk, status=RunStatus.PENDING, stage=stage.name)
        before = {"status": current.status, "stage": current.stage, "reason": current.reason}
        audit.record(actor, "observation.retry", current, before=before)
        return jobs.submit(pipeline.job_of(stage, current.pk), revive=True)


def restart(observation: Observation) -> Job:
    """Begin an observation anew because what is said of it was corrected.

    Raises
    ------
    ApplicationError
        If results that others may rely on were made with the old values.
    """
    with transaction.atomic():
        current = Observation.objects.select_for_update().get(pk=observation.pk)
        if problem := _lasting_results(current):
            msg = (
                f"observation {current.observation_id} cannot be corrected, {problem} with what "
                "was said before; take the frame into another survey"
            )
            raise ApplicationError(msg)
        for job in Job.objects.filter(subject_id=current.pk).exclude(state__in=TERMINAL_JOBS):
            # a worker that is still at it finds that the job is no longer its own
            jobs.cancel(job)
        for stage in pipeline.STAGES:
            if run := pipeline.run_of(stage, current.pk):
                reset_run(run)
        forget_points(current)
        mirror(current.pk, status=RunStatus.PENDING, stage=pipeline.STAGES[0].name)
        return jobs.submit(pipeline.job_of(pipeline.STAGES[0], current.pk), revive=True)


def _lasting_results(observation: Observation) -> str:
    """What was made of an observation and may be relied on; empty if nothing was."""
    if observation.status == RunStatus.SUCCEEDED:
        return "it was worked through"
    detected = pipeline.run_of(pipeline.STAGE_BY_NAME["detect"], observation.pk)
    if detected is not None and detected.status == RunStatus.SUCCEEDED:
        return "candidates were found"
    if ReferenceImage.objects.filter(epochs__science_image__observation=observation).exists():
        return "a reference was made of it"
    return ""


def cancel(observation: Observation, actor: User | None) -> int:
    """Stop all work on an observation; what is already stored stays. Returns the jobs ended."""
    with transaction.atomic():
        current = Observation.objects.select_for_update().get(pk=observation.pk)
        open_jobs = Job.objects.filter(subject_id=current.pk).exclude(state__in=TERMINAL_JOBS)
        ended = [job for job in open_jobs if jobs.cancel(job)]
        # drawing pictures anew is no stage: stopping it leaves the observation as it is
        for job in (job for job in ended if job.kind in pipeline.STAGE_BY_NAME):
            if run := pipeline.run_of(pipeline.STAGE_BY_NAME[job.kind], current.pk):
                end_run(run, RunStatus.CANCELLED, stage=job.kind, reason="cancelled")
            mirror(current.pk, status=RunStatus.CANCELLED, stage=job.kind, reason="cancelled")
        if ended:
            audit.record(actor, "observation.cancel", current, before={"status": current.status})
    return len(ended)
