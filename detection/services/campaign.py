"""Injection and recovery: sources put into a raw frame, through every stage, nothing stored.

The stages are the pipeline's own functions. What they make of an injected frame lives in memory
alone: no row, no file, no count, no export can ever show an injected source as a real one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings
from django.db.models import QuerySet

from astrid_site.imaging.errors import AlgorithmError
from detection.models import Detection, DetectionRun
from detection.services.scoring import score_candidates
from differencing.services import subtract_frame
from observations.models import Observation, Survey
from preprocessing.services import calibrate_frame, load_image, load_raw, load_stars
from preprocessing.services.calibrate import NO_CALIBRATION

if TYPE_CHECKING:
    from astrid_site.imaging.image import Image
    from detection.training.recovery import Sources

#: Sources are drawn from so much brighter to so much fainter than the frame's limit [mag].
_BRIGHTER, _FAINTER = 3.0, 1.0
#: A candidate within so many FWHM of a source is that source.
_MATCH_FWHM = 1.0


@dataclass(frozen=True)
class Injected:
    """One source that was put in, and where it was lost; ``outcome`` is "recovered" if nowhere."""

    observation: str
    survey: str
    band: str
    observed_at: str
    ra: float | None
    dec: float | None
    x: float
    y: float
    magnitude: float
    host_fwhm: float | None
    sky_per_pixel: float
    outcome: str
    score_sigma: float | None
    real_bogus: float | None

    @property
    def is_recovered(self) -> bool:
        """Whether it came out at the end."""
        return self.outcome == "recovered"


def frames_to_inject(survey: Survey | None = None) -> QuerySet[DetectionRun]:
    """Searched frames on whose raw pixels sources of known magnitude can be put, newest first.

    Frames that calibration masters changed are left out: the raw frame has another flux scale.
    """
    rows = DetectionRun.objects.filter(
        status="succeeded",
        difference_run__science_image__zero_point__isnull=False,
        difference_run__science_image__limiting_magnitude__isnull=False,
        difference_run__science_image__metrics__calibration=NO_CALIBRATION,
    ).select_related("observation__survey", "difference_run__science_image__file")
    if survey is not None:
        rows = rows.filter(observation__survey=survey)
    return rows.order_by("-observation__observed_at", "pk")


def inject_and_recover(run: DetectionRun, *, round_number: int, seed: int) -> list[Injected]:
    """Put sources into the raw frame of a search and follow each through every stage.

    Raises
    ------
    AlgorithmError, NoWorkError
        If the frame with its sources defeats a stage.
    """
    from detection.training.recovery import draw_sources, generator_of_round, put_sources

    science_image = run.difference_run.science_image if run.difference_run else None
    if science_image is None or science_image.file is None or science_image.stars_file is None:
        msg = f"run: {run.pk} has no science image"
        raise ValueError(msg)
    observation = run.observation
    rng = generator_of_round(observation.raw_file.sha256, round_number=round_number, seed=seed)
    science, stars = load_image(science_image.file), load_stars(science_image.stars_file)
    raw = load_raw(observation)[0]
    if science.psf is None or raw.shape != science.shape:
        msg = "the raw frame does not lie on the pixels of the science image"
        raise AlgorithmError(msg)
    limit = float(science_image.limiting_magnitude or 0.0)
    places = np.column_stack([stars.x, stars.y]).astype(np.float64)
    sources = draw_sources(
        science,
        places[~stars.is_star],
        np.array(list(Detection.objects.filter(run=run).values_list("x", "y")), dtype=np.float64),
        magnitudes=(limit - _BRIGHTER, limit + _FAINTER),
        rng=rng,
    )
    gain = science_image.metrics.get("gain_used")
    injected = put_sources(
        raw,
        sources,
        science.psf,
        gain=float(gain) if isinstance(gain, int | float) else None,
        rng=rng,
    )
    outcomes = _follow(run, injected, np.column_stack([sources.x, sources.y]))
    return _tell(run.observation, science, sources, outcomes)


def _tell(
    observation: Observation, science: Image, sources: Sources, outcomes: list[dict[str, Any]]
) -> list[Injected]:
    """Each source with its place on the sky and what became of it."""
    sky: list[tuple[float | None, float | None]] = [(None, None)] * len(sources)
    if science.wcs is not None:
        ra, dec = science.wcs.all_pix2world(sources.x, sources.y, 0)
        sky = [(float(a) % 360.0, float(d)) for a, d in zip(ra, dec, strict=True)]
    return [
        Injected(
            observation=observation.observation_id,
            survey=observation.survey.name,
            band=observation.band,
            observed_at=observation.observed_at.isoformat() if observation.observed_at else "",
            ra=sky[i][0],
            dec=sky[i][1],
            x=float(sources.x[i]),
            y=float(sources.y[i]),
            magnitude=float(sources.magnitude[i]),
            host_fwhm=float(sources.host_fwhm[i]) if np.isfinite(sources.host_fwhm[i]) else None,
            sky_per_pixel=float(sources.sky[i]),
            **outcomes[i],
        )
        for i in range(len(sources))
    ]


def _follow(run: DetectionRun, raw: Any, places: np.ndarray) -> list[dict[str, Any]]:
    """Calibrate, subtract, search and score; what became of each place."""
    from detection.algorithms.candidates import find_candidates
    from detection.algorithms.cuts import CutConfig, apply_cuts
    from detection.algorithms.measurement import measure
    from detection.algorithms.triplets import cut_triplets

    threshold = run.observation.survey.detection_threshold
    done = calibrate_frame(run.observation, raw)
    made = subtract_frame(run, done.image, done.stars)
    measured = measure(
        made.subtraction,
        made.template,
        made.science,
        find_candidates(made.subtraction, threshold=threshold),
        stars=done.stars,
    )
    x, y = (np.array([getattr(m, axis) for m in measured], dtype=np.float64) for axis in "xy")
    fwhm = made.subtraction.psf.fwhm_pix
    matched = [_nearest(place, x, y, within=_MATCH_FWHM * fwhm) for place in places]
    mine = [measured[k] for k in matched if k is not None]
    rows = np.array([k for k in matched if k is not None], dtype=np.int64)
    triplets = (
        cut_triplets(made.science, made.template, made.subtraction, x[rows], y[rows])
        if mine
        else None
    )
    scores = iter(score_candidates(mine, triplets).scores[0] if mine else [])
    config = CutConfig(min_score=threshold)
    told: list[dict[str, Any]] = []
    for k in matched:
        if k is None:
            told.append({"outcome": "not found", "score_sigma": None, "real_bogus": None})
            continue
        failed = [cut.name for cut in apply_cuts(measured[k], config) if not cut.kept]
        score = next(scores).score
        outcome = f"cut: {failed[0]}" if failed else "recovered"
        if not failed and (score is None or score < settings.CANARY_CUT):
            outcome = "score"
        told.append({"outcome": outcome, "score_sigma": measured[k].score, "real_bogus": score})
    return told


def _nearest(place: np.ndarray, x: np.ndarray, y: np.ndarray, *, within: float) -> int | None:
    if not len(x):
        return None
    apart = np.hypot(x - place[0], y - place[1])
    k = int(np.argmin(apart))
    return k if apart[k] <= within else None


def run_rounds(
    runs: Sequence[DetectionRun], *, n_rounds: int, seed: int
) -> Iterator[tuple[DetectionRun, list[Injected] | AlgorithmError]]:
    """Each frame in turn, each so many times; a frame that defeats a stage gives its error."""
    for run in runs:
        for number in range(n_rounds):
            try:
                yield run, inject_and_recover(run, round_number=number, seed=seed)
            except AlgorithmError as error:
                yield run, error


def as_rows(found: Sequence[Injected]) -> list[dict[str, Any]]:
    """Plain rows, each marked as injected."""
    return [{"is_injected": True, **asdict(each)} for each in found]
