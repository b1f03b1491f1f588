"""What the first page shows: from frames to discoveries, what runs, what failed, who is alive."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.db.models import Count
from django.utils import timezone

from astrid_site import pipeline
from astrid_site.core.models import Heartbeat, Job
from astrid_site.core.status import JobState, RunStatus
from astrid_site.datasets import BUILD
from astrid_site.monitoring.probes import SILENCE
from astrid_site.pages.observation_table import stage_title
from catalog.models import AstroObject, ObjectDetection
from curation.selectors import confirmed_without_place
from detection import pages as detection_pages
from detection.models import Detection
from detection.services import TRAIN
from differencing.models import DifferenceRun
from differencing.pages import plain_words
from observations.models import Observation
from preprocessing.models import ScienceImage

SPANS = {"day": ("last 24 hours", timedelta(days=1)), "week": ("last 7 days", timedelta(days=7))}
MAX_ROWS = 8


@dataclass(frozen=True)
class FunnelStep:
    """One bar of the picture from frames to discoveries."""

    name: str
    count: int
    note: str
    width: float
    group: str
    n_without_place: int = 0


@dataclass(frozen=True)
class Funnel:
    """The bars, and the time they speak of."""

    steps: list[FunnelStep]
    span: str
    span_label: str


@dataclass(frozen=True)
class RunningJob:
    """A job under way and the frame it works on."""

    job: Job
    title: str
    observation: Observation | None


@dataclass(frozen=True)
class Work:
    """What is being done now."""

    running: list[RunningJob]
    n_queued: int
    n_waiting: int


@dataclass(frozen=True)
class Failure:
    """A frame that failed, and why in plain words."""

    observation: Observation
    stage: str
    reason: str


@dataclass(frozen=True)
class Sign:
    """Last sign of life of one process."""

    beat: Heartbeat
    is_alive: bool
    silent_s: float


@dataclass(frozen=True)
class Newest:
    """A fresh candidate with its pictures and its object."""

    detection: Detection
    cutouts: detection_pages.CutoutView
    astro_object: AstroObject | None


def has_frames() -> bool:
    """Whether anything was ever ingested."""
    return Observation.objects.exists()


def funnel(span: str = "") -> Funnel:
    """Counts from frames to confirmed objects, of frames that came within a span of time.

    Without a wish: the last day, or everything if nothing came in it.
    """
    if span not in SPANS and span != "all":
        recent = Observation.objects.filter(created_at__gte=timezone.now() - SPANS["day"][1])
        span = "day" if recent.exists() else "all"
    label, length = SPANS.get(span, ("since the beginning", None))
    frames = Observation.objects.all()
    if length is not None:
        frames = frames.filter(created_at__gte=timezone.now() - length)
    ids = frames.values("pk")
    found = Detection.objects.filter(observation__in=ids)
    objects = AstroObject.objects.filter(
        pk__in=ObjectDetection.objects.filter(detection__observation__in=ids).values("astro_object")
    )
    ended = dict(frames.values_list("status").annotate(n=Count("pk")).order_by())
    calibrated = _done(ScienceImage, ids)
    differenced = _done(DifferenceRun, ids)
    in_frames = [
        ("Frames", sum(ended.values()), _frame_note(ended)),
        ("Calibrated", calibrated, "mask, noise and PSF known"),
        ("Subtracted", differenced, "with a reference"),
    ]
    in_sources = [
        ("Candidates", found.count(), "5 σ peaks of either sign"),
        ("Kept", found.filter(is_kept=True).count(), "passed every cut"),
        ("Objects", objects.count(), "joined over time"),
        ("Confirmed", objects.filter(state=AstroObject.State.CONFIRMED).count(), "by a person"),
    ]
    steps = _bars(in_frames, "frames") + _bars(in_sources, "sources")
    loose = confirmed_without_place().filter(observation__in=ids).count()
    steps[-1] = replace(steps[-1], n_without_place=loose)
    return Funnel(steps=steps, span=span, span_label=label)


def _done(model: type[ScienceImage] | type[DifferenceRun], ids: Any) -> int:
    rows = model._default_manager.filter(observation__in=ids, status=RunStatus.SUCCEEDED)
    return rows.values("observation").distinct().count()


def _frame_note(ended: dict[str, int]) -> str:
    parts = [
        f"{ended[status]} {word}"
        for status, word in (
            (RunStatus.SUCCEEDED, "finished"),
            (RunStatus.RUNNING, "running"),
            (RunStatus.PENDING, "waiting"),
            (RunStatus.SKIPPED, "skipped"),
            (RunStatus.FAILED, "failed"),
            (RunStatus.CANCELLED, "cancelled"),
        )
        if ended.get(status)
    ]
    return ", ".join(parts)


def _bars(rows: list[tuple[str, int, str]], group: str) -> list[FunnelStep]:
    """Bars of one unit share one scale; a count that is not zero stays visible."""
    largest = max((count for _, count, _ in rows), default=0)
    return [
        FunnelStep(name, count, note, _share(count, largest), group) for name, count, note in rows
    ]


def _share(count: int, largest: int) -> float:
    return round(max(100.0 * count / largest, 1.0), 2) if count else 0.0


def work() -> Work:
    """Jobs under way, and how many wait."""
    running = list(Job.objects.filter(state=JobState.RUNNING).order_by("started_at")[:MAX_ROWS])
    frames = _frames(running)
    titles = {stage.name: stage.title for stage in pipeline.STAGES}
    titles[pipeline.MEASURE] = titles["photometry"]
    titles |= {BUILD: "Build a data set", TRAIN: "Train the network"}
    queued = Job.objects.filter(state=JobState.QUEUED)
    return Work(
        running=[
            RunningJob(job, titles.get(job.kind, job.kind), frames.get(job.subject_id))
            for job in running
        ],
        n_queued=queued.filter(next_at__lte=timezone.now()).count(),
        n_waiting=queued.filter(next_at__gt=timezone.now()).count(),
    )


def _frames(jobs: list[Job]) -> dict[object, Observation]:
    rows = Observation.objects.select_related("survey")
    return {row.pk: row for row in rows.filter(pk__in=[job.subject_id for job in jobs])}


def failures() -> tuple[list[Failure], int]:
    """Frames that failed, newest first, and how many there are."""
    rows = Observation.objects.filter(status=RunStatus.FAILED).select_related("survey")
    shown = rows.order_by("-created_at", "id")[:MAX_ROWS]
    found = [Failure(row, stage_title(row.stage), plain_words(row.reason)) for row in shown]
    return found, rows.count()


def signs_of_life() -> list[Sign]:
    """Workers and sweepers, those heard of within a day."""
    now = timezone.now()
    beats = Heartbeat.objects.filter(seen_at__gte=now - timedelta(days=1)).order_by("kind", "name")
    return [
        Sign(beat, now - beat.seen_at < SILENCE, (now - beat.seen_at).total_seconds())
        for beat in beats
    ]


def newest() -> list[Newest]:
    """The latest candidates that passed every cut."""
    rows = Detection.objects.filter(is_kept=True).select_related("observation__survey", "run")
    chosen = list(rows.order_by("-created_at", "id")[:MAX_ROWS])
    links = ObjectDetection.objects.filter(detection__in=chosen).select_related("astro_object")
    owners = {link.detection_id: link.astro_object for link in links}
    return [Newest(row, detection_pages.view_cutouts(row), owners.get(row.pk)) for row in chosen]
