"""The whole flow on one screen: the stages, what each does, and what follows what.

ingest -> preprocess -> reference -> difference -> detect -> associate -> photometry

A stage is a job of the ledger, a run row and a service. The service computes; its product, the
run's end, the observation's mirror and the next stage's job are written in one transaction, the
one that finishes the job. Running anything twice, or losing any message, changes nothing.

A frame whose way ends earlier than that is measured too, by a job beside the stages: where the
observation stands does not hang on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import UUID

from django.db.models import Count, Max

from astrid_site.canaries import begin_round_when_due, run_canaries
from astrid_site.core import jobs
from astrid_site.core.errors import NotYetError, TransientError
from astrid_site.core.jobs import Handler, JobContext, NextJob, Outcome
from astrid_site.core.models import Job
from astrid_site.core.reasons import trouble_of, words_while_waiting
from astrid_site.core.stages import Progress, StageProduct
from astrid_site.core.status import JobState, RunStatus
from astrid_site.datasets import BUILD as BUILD_DATASET
from astrid_site.datasets import run_build as run_build_dataset
from astrid_site.imaging.errors import AlgorithmError, ImageReadError, NoWorkError
from astrid_site.promotion import run_rescore
from astrid_site.redrawing import REDRAW, run_redraw
from astrid_site.remedies import explain
from catalog.models import AssociationRun, PhotometryRun
from catalog.services import (
    FORCED,
    epochs_on_their_own,
    run_associate,
    run_forced,
    run_measure,
    run_photometry,
    wants_measuring,
)
from curation.services import CONSENSUS, run_consensus
from detection.models import DetectionRun
from detection.services import (
    CANARIES,
    MIRROR,
    RESCORE,
    TRAIN,
    run_detect,
    run_mirror,
    run_training,
)
from differencing.models import DifferenceRun, ReferenceRun
from differencing.selectors import earlier_frames, named_frames, waiting_for_reference
from differencing.services import run_difference, run_reference
from observations.models import Observation, ProcessingRun, Survey
from observations.services.runs import (
    begin_run,
    end_run,
    mirror,
    succeed_run,
    wait_run,
)
from preprocessing.models import ScienceImage
from preprocessing.selectors import finished_images
from preprocessing.services import BUILD_KIND, run_build_job, run_preprocess

#: Raised when results of the same input would differ; every observation may then run again.
PIPELINE_VERSION = "1"


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
STAGE_BY_NAME: Mapping[str, Stage] = {stage.name: stage for stage in STAGES}
#: Forced photometry on a frame that has ended without it; no stage.
MEASURE = "measure"


def job_of(stage: Stage, observation_id: UUID) -> NextJob:
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

    A frame that a person named as reference is never subtracted; what it shows is measured.
    """
    if stage.name == "preprocess" and observation.role == Observation.Role.TEMPLATE:
        return STAGE_BY_NAME["photometry"]
    position = STAGES.index(stage) + 1
    return STAGES[position] if position < len(STAGES) else None


def run_stage(stage: Stage, context: JobContext) -> Outcome:
    """Do one stage of one observation and say how it ended; what succeeded is not done again."""
    done = run_of(stage, context.subject_id)
    if done is not None and done.status == RunStatus.SUCCEEDED:
        return Outcome(JobState.DONE)
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
        return measuring(stage, run.observation)

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
        next_jobs += [job_of(STAGE_BY_NAME["reference"], key) for key in late]
    if product.metrics.get("built") and isinstance(run, ReferenceRun):
        # its epochs are now tied to it by their stars
        for epoch in epochs_on_their_own(run):
            next_jobs += measuring(stage, epoch)
    next_stage = following(stage, observation)
    if next_stage is None:
        mirror(observation.pk, status=RunStatus.SUCCEEDED, stage=stage.name)
    else:
        mirror(observation.pk, status=RunStatus.PENDING, stage=next_stage.name)
        next_jobs.append(job_of(next_stage, observation.pk))
    return next_jobs


def measuring(stage: Stage, observation: Observation) -> Sequence[NextJob]:
    """The job that measures light curves on a frame whose way ended; none without an object.

    Asked after the frame was calibrated: who founds an object later sees the frame. When
    photometry itself fails there is nothing else to try.
    """
    if stage.name == "photometry" or not wants_measuring(observation, version=PIPELINE_VERSION):
        return ()
    job = job_of(STAGE_BY_NAME["photometry"], observation.pk)
    return (replace(job, kind=MEASURE),)


def run_measure_job(context: JobContext) -> Outcome:
    """Measure on a frame beside the stages; its runs and where it stands stay as they are."""
    observation = Observation.objects.select_related("survey").get(pk=context.subject_id)
    try:
        product = run_measure(observation, context.progress, version=PIPELINE_VERSION)
    except (AlgorithmError, ImageReadError) as error:
        return Outcome(JobState.FAILED, cause=str(error))

    def save() -> Sequence[NextJob]:
        product.save()
        return ()

    return Outcome(JobState.DONE, save=save)


HANDLERS: Mapping[str, Handler] = {
    **{stage.name: partial(run_stage, stage) for stage in STAGES},
    MEASURE: run_measure_job,
    FORCED: partial(run_forced, version=PIPELINE_VERSION),
    REDRAW: run_redraw,
    RESCORE: run_rescore,
    CANARIES: run_canaries,
    CONSENSUS: run_consensus,
    MIRROR: run_mirror,
    BUILD_KIND: run_build_job,
    BUILD_DATASET: run_build_dataset,
    TRAIN: run_training,
}


def begin_standing() -> None:
    """Queue what recurs and whose time has come; the sweeper asks every half minute."""
    begin_round_when_due()


def job_lost(job: Job) -> None:
    """Mark the run of a job that the ledger gave up; called in that very transaction."""
    stage = STAGE_BY_NAME.get(job.kind)
    if stage is None or not Observation.objects.filter(pk=job.subject_id).exists():
        return
    run, _ = stage.run_model._default_manager.get_or_create(
        observation_id=job.subject_id, pipeline_version=job.config_version
    )
    numbers = {"code": job.trouble} if job.trouble else {}
    end_run(run, RunStatus.FAILED, stage=stage.name, reason=job.cause, numbers=numbers)
    for following_job in measuring(stage, run.observation):
        jobs.submit(following_job, revive=True)


def run_of(stage: Stage, observation_id: UUID) -> ProcessingRun | None:
    return stage.run_model._default_manager.filter(
        observation_id=observation_id, pipeline_version=PIPELINE_VERSION
    ).first()
