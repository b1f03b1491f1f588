"""What the table of observations shows of each: the step it reached, its role, its difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from astrid_site import pipeline
from differencing.models import DifferenceRun
from differencing.pages import plain_words, quality_of
from observations.models import Observation

_ROLES = {
    Observation.Role.AUTO: "",
    Observation.Role.TEMPLATE: "reference frame",
    Observation.Role.SCIENCE: "never a reference",
}


@dataclass(frozen=True)
class ObservationRow:
    """One line of the table; ``quality`` is the class of the verdict, empty without a doubt."""

    observation: Observation
    stage: str
    reason: str
    role: str
    quality: str
    verdict: str


def observation_rows(observations: Sequence[Observation]) -> list[ObservationRow]:
    """Lines of the table, their differences read in one query."""
    runs = DifferenceRun.objects.filter(observation__in=observations).order_by("created_at")
    latest = {run.observation_id: run for run in runs}
    return [_row(observation, latest.get(observation.pk)) for observation in observations]


def _row(observation: Observation, run: DifferenceRun | None) -> ObservationRow:
    is_doubtful = run is not None and run.quality not in ("", DifferenceRun.Quality.PASS)
    return ObservationRow(
        observation=observation,
        stage=stage_title(observation.stage),
        reason=plain_words(observation.reason),
        role=_ROLES[Observation.Role(observation.role)],
        quality=run.quality if run and is_doubtful else "",
        verdict=quality_of(run).verdict if run and is_doubtful else "",
    )


def stage_title(name: str) -> str:
    """What pages call a stage; empty before the first."""
    stage = pipeline.STAGE_BY_NAME.get(name)
    return stage.title if stage else name
