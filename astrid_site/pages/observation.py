"""What the page of one observation shows: pictures, stages with their numbers, candidates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from astrid_site import pipeline
from astrid_site.core.models import Job, StoredFile
from astrid_site.core.status import TERMINAL_JOBS, TERMINAL_RUNS, JobState, RunStatus
from astrid_site.pages.stage_pictures import StagePictures, stage_pictures
from astrid_site.pages.view_files import frame_size, has_images, stored_views
from catalog.models import AstroObject, ObjectDetection
from detection.models import Detection
from differencing.models import DifferenceRun
from differencing.pages import Quality, plain_words, quality_of
from observations.models import Observation, ProcessingRun
from preprocessing.models import ScienceImage

MAX_CANDIDATES = 200


@dataclass(frozen=True)
class StageRow:
    """One stage: its run, its job, and how long it took."""

    name: str
    title: str
    status: str
    status_label: str
    run: ProcessingRun | None
    job: Job | None
    seconds: float | None

    @property
    def reason(self) -> str:
        """Why the run ended as it did, in plain words."""
        return plain_words(self.run.reason) if self.run else ""

    @property
    def metrics(self) -> list[tuple[str, Any]]:
        """Numbers of the run that are one value each."""
        found = self.run.metrics if self.run else {}
        return [(k, v) for k, v in found.items() if not isinstance(v, dict | list)]


@dataclass(frozen=True)
class FramePicture:
    """One image of the observation that can be shown and downloaded."""

    panel: str
    label: str
    unit: str
    file: StoredFile


@dataclass(frozen=True)
class CandidateRow:
    """One line of the candidates table."""

    detection: Detection
    astro_object: AstroObject | None


@dataclass(frozen=True)
class ObservationPage:
    """Everything on the page."""

    observation: Observation
    stages: list[StageRow]
    pictures: list[FramePicture]
    candidates: list[CandidateRow]
    n_candidates: int
    n_kept: int
    header: list[tuple[str, Any, bool]]
    difference: DifferenceRun | None
    quality: Quality | None
    reason: str
    drawn: StagePictures
    size: tuple[int, int]
    is_drawn: bool
    has_images: bool
    can_retry: bool
    can_cancel: bool


def observation_page(observation: Observation, *, show_all: bool = False) -> ObservationPage:
    """Gather the page; ``show_all`` adds the candidates that failed a cut."""
    found = Detection.objects.filter(observation=observation)
    kept = found.filter(is_kept=True)
    runs = DifferenceRun.objects.filter(observation=observation).order_by("-created_at")
    difference = runs.first()
    return ObservationPage(
        observation=observation,
        stages=stage_rows(observation),
        pictures=frame_pictures(observation),
        candidates=_candidates(found if show_all else kept),
        n_candidates=found.count(),
        n_kept=kept.count(),
        header=_header(observation),
        difference=difference,
        quality=quality_of(difference) if difference else None,
        reason=plain_words(observation.reason),
        drawn=stage_pictures(observation),
        size=frame_size(observation),
        is_drawn="preprocess" in stored_views(observation),
        has_images=has_images(observation),
        can_retry=observation.status in {RunStatus.FAILED, RunStatus.SKIPPED, RunStatus.CANCELLED},
        can_cancel=observation.status not in TERMINAL_RUNS,
    )


def stage_rows(observation: Observation) -> list[StageRow]:
    """Every stage of the pipeline in order, run or not."""
    jobs = {job.kind: job for job in Job.objects.filter(subject_id=observation.pk)}
    rows = [_stage_row(stage, observation, jobs.get(stage.name)) for stage in pipeline.STAGES]
    beside = jobs.get(pipeline.MEASURE)
    if beside is not None and rows[-1].run is None:
        rows[-1] = _measured_beside(rows[-1], beside)
    return rows


def _measured_beside(photometry: StageRow, job: Job) -> StageRow:
    """The last stage of a frame whose way ended before it and whose objects were measured."""
    status = "succeeded" if job.state == JobState.DONE else job.state
    label = (
        "measured without a difference" if job.state == JobState.DONE else job.get_state_display()
    )
    return replace(photometry, status=status, status_label=label, job=job)


def _stage_row(stage: pipeline.Stage, observation: Observation, job: Job | None) -> StageRow:
    runs = stage.run_model._default_manager.filter(observation=observation)
    run = runs.order_by("-created_at").first()
    status, label = _stage_status(run, job, has_ended=observation.status in TERMINAL_RUNS)
    return StageRow(
        name=stage.name,
        title=stage.title,
        status=status,
        status_label=label,
        run=run,
        job=job,
        seconds=_seconds(run.started_at, run.finished_at) if run else None,
    )


def _stage_status(
    run: ProcessingRun | None, job: Job | None, *, has_ended: bool
) -> tuple[str, str]:
    """State of a stage in a word for programs and in one for people.

    A run says it best. Without one a job may wait, but only while the frame is under way: what
    was cancelled before it began, or comes after the stage at which the frame ended, is not done.
    """
    if run is not None and (run.status in TERMINAL_RUNS or not has_ended):
        return run.status, run.get_status_display()
    if job is not None and job.state == JobState.CANCELLED:
        return RunStatus.CANCELLED.value, str(RunStatus.CANCELLED.label)
    if has_ended:
        return "none", "not done"
    is_waiting = job is not None and job.state not in TERMINAL_JOBS
    return ("queued", "queued") if is_waiting else ("none", "not reached")


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None


def frame_pictures(observation: Observation) -> list[FramePicture]:
    """Images that exist so far: calibrated frame, reference, difference, score."""
    science = ScienceImage.objects.filter(observation=observation, file__isnull=False)
    newest = science.select_related("file").order_by("-created_at").first()
    pictures = [("science", "Science image", "image units", newest.file if newest else None)]
    runs = DifferenceRun.objects.filter(observation=observation).order_by("-created_at")
    run = runs.select_related("template_file", "file", "score_file").first()
    if run is not None:
        pictures += [
            ("template", "Reference", "on the science grid", run.template_file),
            ("difference", "Difference", "science units", run.file),
            ("score", "Score", "sigma, from −10 to +10", run.score_file),
        ]
    return [FramePicture(panel, label, unit, file) for panel, label, unit, file in pictures if file]


def drawn_panel(observation: Observation, panel: str) -> StoredFile | None:
    """The file with the tiles of one image of the observation, if a worker made it."""
    return stored_views(observation).get("preprocess" if panel == "science" else "difference")


def _candidates(rows: Any) -> list[CandidateRow]:
    chosen = list(rows.order_by("-is_kept", "-real_bogus", "-score", "id")[:MAX_CANDIDATES])
    links = ObjectDetection.objects.filter(detection__in=chosen).select_related("astro_object")
    owners = {link.detection_id: link.astro_object for link in links}
    return [CandidateRow(row, owners.get(row.pk)) for row in chosen]


def _header(observation: Observation) -> list[tuple[str, Any, bool]]:
    """Header cards, and what a sidecar table said instead (marked)."""
    told = [(name, value, True) for name, value in observation.overrides.items()]
    return told + [(name, value, False) for name, value in observation.header.items()]
