"""What the pages of data sets show: versions, what is in them, what was left out, trainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils import timezone

from astrid_site.core.models import Job
from astrid_site.core.status import JobState
from astrid_site.datasets import BUILD, build_job, candidate_labels
from astrid_site.pages.training_curves import TrainingChart, draw_training
from detection.models import DataSet, TrainingRun
from detection.services.datasets import lacking
from detection.services.training import TRAIN, job_of
from detection.training.enough_labels import LEAST_LABELS

STRIP_WIDTH, STRIP_HEIGHT = 189, 63
MAX_BUILDS = 5
_LIVE = {JobState.QUEUED, JobState.RUNNING}
_SPLITS = {"train": "to learn from", "validation": "to stop by", "test": "to judge on"}
_CHANGES = {
    "added": "came in",
    "removed": "fell out",
    "relabelled": "changed their label",
    "other_pixels": "have other pixels",
    "other_side": "went to another side",
}


@dataclass(frozen=True)
class BuildRow:
    """A version that is asked for and not there, with its job."""

    dataset: DataSet
    job: Job
    is_live: bool


@dataclass(frozen=True)
class ListPage:
    """Everything on the list."""

    rows: list[DataSet]
    builds: list[BuildRow]
    n_real: int
    n_bogus: int
    n_needed: int
    is_building: bool

    @property
    def n_labels(self) -> int:
        """Candidates that people decided."""
        return self.n_real + self.n_bogus


@dataclass(frozen=True)
class Part:
    """One row of a table of real and bogus, with bars from 0 to 100."""

    name: str
    note: str
    real: int
    bogus: int
    width: float

    @property
    def real_width(self) -> float:
        """Share of the bar that is real."""
        return round(self.width * self.real / max(self.real + self.bogus, 1), 2)

    @property
    def bogus_width(self) -> float:
        """The rest of the bar."""
        return round(self.width - self.real_width, 2)


@dataclass(frozen=True)
class Shown:
    """One sample in the mosaic."""

    row: Mapping[str, Any]
    offset: int
    link: str

    @property
    def says(self) -> str:
        """What the picture shows, in words."""
        label = "real" if self.row["is_real"] else "bogus"
        return f"{label}, {self.row['kind']}: science, reference, difference"


@dataclass(frozen=True)
class Change:
    """One line of the difference to the version before."""

    says: str
    n: int
    keys: list[str]


@dataclass(frozen=True)
class TrainingRow:
    """One training with its job."""

    run: TrainingRun
    job: Job | None


@dataclass(frozen=True)
class DatasetPage:
    """Everything on the page of one version."""

    splits: list[Part]
    tables: list[tuple[str, list[Part]]]
    reasons: list[tuple[str, int]]
    unlabelled: list[tuple[str, int]]
    shown: list[tuple[str, list[Shown]]]
    mosaic_height: int
    changes: list[Change]
    lacks: list[str]
    trainings: list[TrainingRow]
    job: Job | None


@dataclass(frozen=True)
class TrainingPage:
    """Everything on the page of one training."""

    run: TrainingRun
    job: Job | None
    is_live: bool
    can_go_on: bool
    charts: list[TrainingChart]
    best: float | None
    start: float | None
    gain: str
    left_s: float | None
    facts: list[tuple[str, str]]


def list_page() -> ListPage:
    """Versions, the latest first, what is being built, and how many labels there are."""
    rows = DataSet.objects.filter(version__isnull=False).select_related("requested_by")
    waiting = DataSet.objects.filter(version=None).order_by("-created_at")[:MAX_BUILDS]
    jobs = {job.subject_id: job for job in Job.objects.filter(kind=BUILD)}
    builds = [
        BuildRow(row, jobs[row.pk], jobs[row.pk].state in _LIVE)
        for row in waiting
        if row.pk in jobs
    ]
    labels, _ = candidate_labels()
    n_real = sum(label.is_real for label in labels)
    return ListPage(
        rows=list(rows.order_by("-created_at")),
        builds=builds,
        n_real=n_real,
        n_bogus=len(labels) - n_real,
        n_needed=LEAST_LABELS,
        is_building=any(row.is_live for row in builds),
    )


def dataset_page(dataset: DataSet) -> DatasetPage:
    """Gather the page of one version, or of one that is being built."""
    counts = dataset.counts
    runs = TrainingRun.objects.filter(dataset=dataset).select_related("model", "requested_by")
    jobs = {job.subject_id: job for job in Job.objects.filter(kind=TRAIN)}
    trainings = [TrainingRow(run, jobs.get(run.pk)) for run in runs.order_by("-created_at")]
    shown = counts.get("shown", [])
    return DatasetPage(
        splits=_parts(
            {n: counts["splits"][n] for n in _SPLITS} if counts else {}, notes=_split_notes(counts)
        ),
        tables=[
            (title, _parts(counts[name]))
            for name, title in (("sources", "Sources"), ("surveys", "Surveys"), ("kinds", "Kinds"))
            if counts
        ],
        reasons=sorted(counts.get("reasons", {}).items(), key=lambda item: -item[1]),
        unlabelled=list(counts.get("unlabelled", {}).items()),
        shown=_mosaic(shown),
        mosaic_height=STRIP_HEIGHT * len(shown),
        changes=_changes(dataset.changes),
        lacks=lacking(dataset),
        trainings=trainings,
        job=None if dataset.digest else build_job(dataset),
    )


def _split_notes(counts: Mapping[str, Any]) -> dict[str, str]:
    if not counts:
        return {}
    return {n: f"{says}, {counts['splits'][n]['groups']} groups" for n, says in _SPLITS.items()}


def _parts(
    table: Mapping[str, Mapping[str, int]], *, notes: Mapping[str, str] | None = None
) -> list[Part]:
    """Rows of a table, bars as long as the largest."""
    most = max((row["real"] + row["bogus"] for row in table.values()), default=1)
    return [
        Part(
            name,
            (notes or {}).get(name, ""),
            row["real"],
            row["bogus"],
            round(100 * (row["real"] + row["bogus"]) / max(most, 1), 2),
        )
        for name, row in table.items()
    ]


def _mosaic(shown: list[Mapping[str, Any]]) -> list[tuple[str, list[Shown]]]:
    """Strips of the picture by class."""
    strips = [Shown(row, i * STRIP_HEIGHT, _link(row["key"])) for i, row in enumerate(shown)]
    return [
        (name, found)
        for name, wanted in (("real", True), ("bogus", False))
        if (found := [strip for strip in strips if strip.row["is_real"] is wanted])
    ]


def _link(key: str) -> str:
    """The page of the candidate that a sample is of; empty for all others."""
    source, _, name = key.partition(":")
    return reverse("curation:vet_candidate", args=[UUID(name)]) if source == "verdict" else ""


def _changes(told: Mapping[str, Any]) -> list[Change]:
    return [Change(says, told[k]["n"], told[k]["keys"]) for k, says in _CHANGES.items() if told]


def training_page(run: TrainingRun) -> TrainingPage:
    """Gather the page of one training."""
    job = job_of(run)
    n_members, n_epochs = int(run.start.record["n_members"]), int(run.parameters["epochs"])
    is_live = job is not None and job.state in _LIVE
    return TrainingPage(
        run=run,
        job=job,
        is_live=is_live,
        can_go_on=job is not None and run.model is None and not is_live,
        charts=draw_training(run.history, n_epochs=n_epochs),
        best=_mean_of_members(run, max),
        start=_mean_of_members(run, itemgetter(0)),
        gain=_gain(run),
        left_s=_left(job) if is_live else None,
        facts=_facts(run, n_members=n_members, n_epochs=n_epochs),
    )


def _mean_of_members(run: TrainingRun, choose: Callable[[Sequence[float]], float]) -> float | None:
    """One validation AUCPR of each member so far, in the mean; None before the first epoch."""
    by_member: dict[int, list[float]] = {}
    for row in run.history:
        by_member.setdefault(row["member"], []).append(row["validation_aucpr"])
    chosen = [choose(scores) for scores in by_member.values()]
    return sum(chosen) / len(chosen) if chosen else None


def _gain(run: TrainingRun) -> str:
    """How it compares with what it came from, on samples that neither has learnt from here."""
    gain = run.model.report.get("gain", {}) if run.model else {}
    if gain.get("value") is None:
        return ""
    text = f"AUCPR on the test side against the network it came from: {gain['value']:+.4f}"
    if gain["low"] is not None:
        text += f" ({gain['low']:+.4f} to {gain['high']:+.4f})"
    text += "; a challenger is no worse." if gain["value"] >= 0 else ", so it is no challenger."
    return text.replace("-0.", "\u22120.")


def _left(job: Job | None) -> float | None:
    """Seconds left at most, as fast as it went so far; None at the beginning."""
    if job is None or job.started_at is None or job.progress < 0.02:
        return None
    passed = (timezone.now() - job.started_at).total_seconds()
    return passed * (1.0 - job.progress) / job.progress


def _facts(run: TrainingRun, *, n_members: int, n_epochs: int) -> list[tuple[str, str]]:
    energy = "not known: no meter here"
    if run.energy_j is not None:
        energy = f"{run.energy_j / 3600:.2f} Wh, {run.energy_source}"
    return [
        ("Goes on from", str(run.start)),
        ("Members", f"{n_members}, at most {n_epochs} epochs each"),
        ("Seed", str(run.parameters["seed"])),
        ("Data set", run.dataset.digest[:12]),
        ("Code", run.code_version),
        ("Energy", energy),
    ]
