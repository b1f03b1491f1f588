"""The whole flow on one screen: the stages, what each does, and what follows what.

ingest -> preprocess -> reference -> difference -> detect -> associate -> photometry

A stage is a job of the ledger, a run row and a service. The service computes; its product, the
run's end, the observation's mirror and the next stage's job are written in one transaction, the
one that finishes the job. Running anything twice, or losing any message, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Max

from astrid_site.core import audit, jobs
from astrid_site.core.errors import ApplicationError, NotYetError, TransientError
from astrid_site.core.jobs import Handler, JobContext, NextJob, Outcome
from astrid_site.core.models import Job
from astrid_site.core.reasons import trouble_of, words_while_waiting
from astrid_site.core.stages import Progress, StageProduct
from astrid_site.core.status import TERMINAL_JOBS, JobState, RunStatus
from astrid_site.imaging.errors import AlgorithmError, ImageReadError, NoWorkError
from astrid_site.redrawing import REDRAW, run_redraw
from astrid_site.remedies import explain
from catalog.models import AssociationRun, PhotometryRun
from catalog.services import run_associate, run_photometry
from detection.models import DetectionRun
from detection.services import run_detect
from differencing.models import DifferenceRun, ReferenceImage, ReferenceRun
from differencing.selectors import earlier_frames, named_frames, waiting_for_reference
from differencing.services import run_difference, run_reference
from observations.models import Observation, ProcessingRun, Survey
from observations.services.runs import (
    begin_run,
    end_run,
    mirror,
    reset_run,
    succeed_run,
    wait_run,
)
from preprocessing.models import ScienceImage
from preprocessing.selectors import finished_images
from preprocessing.services import BUILD_KIND, run_build_job, run_preprocess

if TYPE_CHECKING:
    from astrid_site.accounts.models import User

#: Raised when results of the same input would differ; every observation may then run again.
PIPELINE_VERSION = "1"


@dataclass(frozen=True)
class StageRow:
    """Where one observation stands in one stage."""

    stage: str
    title: str
    status: str
    reason: str
    metrics: Mapping[str, Any]
    numbers: Mapping[str, Any]
    started_at: datetime | None
    finished_at: datetime | None
    progress: float | None
    job: UUID | None


@dataclass(frozen=True)
class Stage:
    """One step of the flow."""

    name: str
    title: str
    run_model: type[ProcessingRun]
    service: Callable[[ProcessingRun, Progress], StageProduct]
    queue: str = "cpu"


STAGES: tuple[Stage, ...] = (
    Stage("preprocess", "Calibrate the frame", ScienceImage, run_preprocess),
    Stage("reference", "Choose or build the reference", ReferenceRun, run_reference),
    Stage("difference", "Register and subtract", DifferenceRun, run_difference),
    Stage("detect", "Find and measure candidates", DetectionRun, run_detect),
    Stage("associate", "Join candidates to objects", AssociationRun, run_associate),
    Stage("photometry", "Measure light curves", PhotometryRun, run_photometry),
)
_BY_NAME: Mapping[str, Stage] = {stage.name: stage for stage in STAGES}


def _job(stage: Stage, observation_id: UUID) -> NextJob:
    # later stages first: a frame that is half done gives candidates before the next one starts
    return NextJob(
        kind=stage.name,
        subject_id=observation_id,
        config_version=PIPELINE_VERSION,
        queue=stage.queue,
        priority=STAGES.index(stage),
    )


def following(stage: Stage, observation: Observation) -> Stage | None:
    """What comes after a stage that succeeded; None at the end of the way.

    A frame that a person named as reference is only that: it is calibrated, never subtracted.
    """
    if stage.name == "preprocess" and observation.role == Observation.Role.TEMPLATE:
        return None
    position = STAGES.index(stage) + 1
    return STAGES[position] if position < len(STAGES) else None


def run_stage(stage: Stage, context: JobContext) -> Outcome:
    """Do one stage of one observation and say how it ended."""
    run = begin_run(stage.run_model, context, version=PIPELINE_VERSION)
    seen = _epochs_at_hand(stage, run)
    try:
        product = stage.service(run, context.progress)
    except NoWorkError as error:
        return _skipped(stage, run, error, seen=seen)
    except AlgorithmError as error:
        return _stopped(stage, run, RunStatus.FAILED, error)
    except ImageReadError as error:
        return _ended(stage, run, RunStatus.FAILED, reason=str(error), numbers={"code": error.code})
    except (NotYetError, TransientError) as error:
        wait_run(run, context, reason=_while_waiting(error, context))
        raise
    return Outcome(JobState.DONE, save=partial(_succeed, stage, run, product))


def _while_waiting(error: NotYetError | TransientError, context: JobContext) -> str:
    if isinstance(error, NotYetError):
        return error.reason
    return words_while_waiting(trouble_of(error), times=context.claim.errors)


#: How many frames could be the reference of another, and when the last of them was calibrated.
Epochs = Mapping[str, Any]


def _epochs_at_hand(stage: Stage, run: ProcessingRun) -> Epochs:
    """What the choice of a reference can choose from; it only grows."""
    if stage.name != "reference":
        return {}
    frames = earlier_frames(run.observation) | named_frames(run.observation)
    images = finished_images().filter(observation__in=frames, pipeline_version=PIPELINE_VERSION)
    return images.aggregate(count=Count("pk"), last=Max("finished_at"))


def _one_at_a_time(observation: Observation) -> None:
    """Let frames of one survey be calibrated, and be skipped for want of others, in turn.

    Two such transactions that overlap cannot see each other: the one would find nobody to
    revive, the other nothing to wait for. NO KEY: rows that only refer to the survey may pass.
    """
    list(Survey.objects.select_for_update(no_key=True).filter(pk=observation.survey_id))


def _skipped(stage: Stage, run: ProcessingRun, error: NoWorkError, *, seen: Epochs) -> Outcome:
    """End SKIPPED, unless what was missing came while it was looked for: then look again."""
    ended = _stopped(stage, run, RunStatus.SKIPPED, error)

    def save() -> Sequence[NextJob]:
        if stage.name == "reference":
            _one_at_a_time(run.observation)
            if _epochs_at_hand(stage, run) != seen:
                msg = "a frame that may serve as reference was calibrated meanwhile"
                raise NotYetError(msg, retry_in_s=0.0)
        return ended.save()

    return replace(ended, save=save)


def _stopped(stage: Stage, run: ProcessingRun, status: RunStatus, error: AlgorithmError) -> Outcome:
    """End a run that the data stopped: plain words and a remedy, the raw text for the admin."""
    said = explain(error.message, is_failure=status == RunStatus.FAILED)
    numbers = {"code": said.code, **error.numbers} if said.code else error.numbers
    ended = _ended(stage, run, status, reason=said.text, numbers=numbers)
    return replace(ended, detail=f"{type(error).__name__}: {error.message} {error.numbers}")


def _ended(
    stage: Stage,
    run: ProcessingRun,
    status: RunStatus,
    *,
    reason: str,
    numbers: Mapping[str, object],
) -> Outcome:
    def save() -> Sequence[NextJob]:
        end_run(run, status, stage=stage.name, reason=reason, numbers=numbers)
        return ()

    state = JobState.SKIPPED if status == RunStatus.SKIPPED else JobState.FAILED
    return Outcome(state, cause=reason, save=save)


def _succeed(stage: Stage, run: ProcessingRun, product: StageProduct) -> Sequence[NextJob]:
    succeed_run(run, product)
    observation = run.observation
    next_jobs = []
    if stage.name == "preprocess":
        _one_at_a_time(observation)
        # frames that were skipped because nothing earlier was there can use this one
        late = waiting_for_reference(observation, version=PIPELINE_VERSION)
        next_jobs += [_job(_BY_NAME["reference"], key) for key in late]
    next_stage = following(stage, observation)
    if next_stage is None:
        mirror(observation.pk, status=RunStatus.SUCCEEDED, stage=stage.name)
    else:
        mirror(observation.pk, status=RunStatus.PENDING, stage=next_stage.name)
        next_jobs.append(_job(next_stage, observation.pk))
    return next_jobs


HANDLERS: Mapping[str, Handler] = {
    **{stage.name: partial(run_stage, stage) for stage in STAGES},
    REDRAW: run_redraw,
    BUILD_KIND: run_build_job,
}


def start(observation: Observation) -> Job:
    """Write an observation's first job, in the caller's transaction."""
    return jobs.submit(_job(STAGES[0], observation.pk))


def advance(observation_id: UUID) -> Job | None:
    """Submit the first stage that has not ended, if none is under way; None if all is done."""
    with transaction.atomic():
        observation = Observation.objects.get(pk=observation_id)
        stage: Stage | None = STAGES[0]
        while stage is not None:
            run = _run_of(stage, observation_id)
            if run is None or run.status in {RunStatus.PENDING, RunStatus.RUNNING}:
                return jobs.submit(_job(stage, observation_id))
            if run.status != RunStatus.SUCCEEDED:
                return None
            stage = following(stage, observation)
    return None


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
        stage = _BY_NAME.get(current.stage, STAGES[0])
        if run := _run_of(stage, current.pk):
            reset_run(run)
        mirror(current.pk, status=RunStatus.PENDING, stage=stage.name)
        before = {"status": current.status, "stage": current.stage, "reason": current.reason}
        audit.record(actor, "observation.retry", current, before=before)
        return jobs.submit(_job(stage, current.pk), revive=True)


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
        for stage in STAGES:
            if run := _run_of(stage, current.pk):
                reset_run(run)
        mirror(current.pk, status=RunStatus.PENDING, stage=STAGES[0].name)
        return jobs.submit(_job(STAGES[0], current.pk), revive=True)


def _lasting_results(observation: Observation) -> str:
    """What was made of an observation and may be relied on; empty if nothing was."""
    if observation.status == RunStatus.SUCCEEDED:
        return "it was worked through"
    detected = _run_of(_BY_NAME["detect"], observation.pk)
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
        for job in ended:
            run = _run_of(_BY_NAME[job.kind], current.pk) if job.kind in _BY_NAME else None
            if run is not None:
                end_run(run, RunStatus.CANCELLED, stage=job.kind, reason="cancelled")
            mirror(current.pk, status=RunStatus.CANCELLED, stage=job.kind, reason="cancelled")
        if ended:
            audit.record(actor, "observation.cancel", current, before={"status": current.status})
    return len(ended)


def job_lost(job: Job) -> None:
    """Mark the run of a job that the ledger gave up; called in that very transaction."""
    stage = _BY_NAME.get(job.kind)
    if stage is None or not Observation.objects.filter(pk=job.subject_id).exists():
        return
    run, _ = stage.run_model._default_manager.get_or_create(
        observation_id=job.subject_id, pipeline_version=job.config_version
    )
    numbers = {"code": job.trouble} if job.trouble else {}
    end_run(run, RunStatus.FAILED, stage=stage.name, reason=job.cause, numbers=numbers)


def _run_of(stage: Stage, observation_id: UUID) -> ProcessingRun | None:
    return stage.run_model._default_manager.filter(
        observation_id=observation_id, pipeline_version=PIPELINE_VERSION
    ).first()


def timeline(observation: Observation) -> list[StageRow]:
    """Every stage in order, with the run and the job of those that were reached."""
    found = {job.kind: job for job in Job.objects.filter(subject_id=observation.pk)}
    return [_timeline_row(stage, observation, found.get(stage.name)) for stage in STAGES]


def _timeline_row(stage: Stage, observation: Observation, job: Job | None) -> StageRow:
    run = _run_of(stage, observation.pk)
    return StageRow(
        stage=stage.name,
        title=stage.title,
        status=run.status if run else (job.state if job else "not reached"),
        reason=run.reason if run else "",
        metrics=run.metrics if run else {},
        numbers=run.numbers if run else {},
        started_at=run.started_at if run else None,
        finished_at=run.finished_at if run else None,
        progress=job.progress if job else None,
        job=job.pk if job else None,
    )
