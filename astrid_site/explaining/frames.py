"""Which frames are asked, and what they answer together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
from django.db.models import Max, QuerySet

from astrid_site import pipeline
from astrid_site.explaining.place import Chain, PlaceOnFrame, read_frame
from astrid_site.imaging.healpix import separation_arcsec
from catalog.selectors import in_cone
from detection.services.causes import Diagnosis, diagnose
from observations.models import Observation, Survey

if TYPE_CHECKING:
    from detection.algorithms.place_facts import Explanation

#: Frames taken this close to the time that was asked for are explained [d].
DEFAULT_DAYS = 1.0
#: No more frames are read for one answer, the nearest in time first.
MAX_FRAMES = 40
_ENDINGS = {
    "found": "found",
    "human": "called bogus by people",
    "low_score": "kept with a low score",
    "cut": "cut",
    "blended": "blended",
    "below_threshold": "below the threshold",
    "masked": "masked",
    "not_searched": "not searched",
    "not_covered": "not covered",
    "unplaced": "without world coordinates",
}


@dataclass(frozen=True)
class Question:
    """A place, and which frames are asked about it.

    Attributes
    ----------
    ra, dec : float
        ICRS degrees.
    mjd : float or None
        Time [MJD UTC] near which frames were taken; None: any.
    days : float
        How near [d].
    survey : Survey or None
        Whose frames; None: any.
    limit : int
        At most so many frames.
    sees_verdicts : bool
        Whether who asks may see what people said.
    """

    ra: float
    dec: float
    mjd: float | None = None
    days: float = DEFAULT_DAYS
    survey: Survey | None = None
    limit: int = MAX_FRAMES
    sees_verdicts: bool = True


@dataclass(frozen=True)
class FrameAnswer:
    """One frame: what it is, where the place lies on it, and how the way ended.

    ``diagnosis`` says what a candidate may be that was cut, scored low or called bogus.
    """

    observation: Observation
    place: PlaceOnFrame
    explanation: Explanation
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True)
class PositionAnswer:
    """The answers of all frames.

    Attributes
    ----------
    question : Question
        What was asked.
    frames : list of FrameAnswer
        In order of time, or nearest to the time first.
    n_beyond : int
        Further frames that cover the place and were not read.
    note : str
        What must be said of the choice of frames; may be empty.
    """

    question: Question
    frames: list[FrameAnswer]
    n_beyond: int
    note: str

    @property
    def summary(self) -> str:
        """How often the way ended where, in one sentence."""
        n = len(self.frames)
        if n == 0:
            return "No frame is stored."
        counts = Counter(str(frame.explanation.ending) for frame in self.frames)
        parts = [f"{counts[key]} {words}" for key, words in _ENDINGS.items() if counts[key]]
        return f"{n} frame{'s' if n > 1 else ''}: {', '.join(parts)}."


def explain_position(question: Question) -> PositionAnswer:
    """Say of every frame near a time, or of all, why it shows what it shows at a place.

    Raises
    ------
    ValueError
        If the place is not on the sky.
    """
    from detection.algorithms.explanation import explain_place

    rows = Observation.objects.select_related("survey").defer("header", "overrides")
    rows = rows.filter(survey=question.survey) if question.survey else rows
    chosen, n_beyond, note = _choose(rows, question)
    chains = _chains(chosen)
    frames = []
    for observation in chosen:
        place = read_frame(chains[observation.pk], question=(question.ra, question.dec))
        facts = place.facts(sees_verdicts=question.sees_verdicts)
        frames.append(_answer(observation, place, explain_place(facts)))
    return PositionAnswer(question, frames, n_beyond, note)


def _answer(observation: Observation, place: PlaceOnFrame, explanation: Explanation) -> FrameAnswer:
    """The answer of a frame; of a doubtful candidate also what it may be."""
    is_doubtful = place.detection is not None and explanation.ending != "found"
    found = diagnose(place.detection) if place.detection is not None and is_doubtful else None
    return FrameAnswer(observation, place, explanation, found)


def _choose(rows: QuerySet[Observation], question: Question) -> tuple[list[Observation], int, str]:
    """Frames whose circle holds the place, near the time; else the one that comes nearest."""
    largest = rows.aggregate(radius_deg=Max("radius_deg"))["radius_deg"]
    if largest is None:
        unplaced = list(rows.order_by("-created_at")[: question.limit])
        return unplaced, 0, "No stored frame has a place on the sky." if unplaced else ""
    radius = largest * 3600.0
    found = in_cone(rows, question.ra, question.dec, radius_arcsec=radius)
    near = [row for row, apart in found if apart <= (row.radius_deg or 0.0) * 3600.0]
    if not near:
        return _nearest_on_the_sky(rows, question), 0, "No stored frame reaches this place."
    if question.mjd is None:
        near.sort(key=lambda row: (row.mid_mjd or 0.0, str(row.pk)))
        return near[: question.limit], max(0, len(near) - question.limit), ""
    mjd = question.mjd
    dated = [row for row in near if row.mid_mjd is not None]
    dated.sort(key=lambda row: (abs((row.mid_mjd or 0.0) - mjd), str(row.pk)))
    within = [row for row in dated if abs((row.mid_mjd or 0.0) - mjd) <= question.days]
    if within:
        return within[: question.limit], max(0, len(within) - question.limit), ""
    note = f"No frame of this place was taken within {question.days:g} d of that time."
    return dated[:1], 0, note + (" The nearest in time is shown." if dated else "")


def _nearest_on_the_sky(rows: QuerySet[Observation], question: Question) -> list[Observation]:
    """The frame whose circle comes nearest to the place; near the time, where one is asked for."""
    placed = rows.filter(ra__isnull=False, radius_deg__isnull=False).order_by("pk")
    if question.mjd is not None:
        reach = (question.mjd - question.days, question.mjd + question.days)
        placed = placed.filter(mid_mjd__range=reach)
    table = list(placed.values_list("pk", "ra", "dec", "radius_deg"))
    if not table:
        return []
    keys, values = [row[0] for row in table], np.array([row[1:] for row in table], dtype=float)
    apart = separation_arcsec(question.ra, question.dec, values[:, 0], values[:, 1])
    nearest = keys[int(np.argmin(apart - 3600.0 * values[:, 2]))]
    return [rows.get(pk=nearest)]


def _chains(observations: list[Observation]) -> dict[UUID, Chain]:
    """The latest run of every stage of the frames, in one query a stage."""
    chains = {row.pk: Chain(row, {}) for row in observations}
    for stage in pipeline.STAGES:
        related = _FILES.get(stage.name, ())
        runs: QuerySet[Any] = stage.run_model._default_manager.select_related(*related)
        for run in runs.filter(observation__in=observations).order_by("created_at"):
            chains[run.observation_id].runs[stage.name] = (stage.title, run)
    return chains


_FILES: dict[str, tuple[str, ...]] = {
    "preprocess": ("file",),
    "difference": ("file", "score_file"),
}
