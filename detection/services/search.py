"""From a difference to stored candidates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from astrid_site.core.events import publish
from astrid_site.core.models import FileKind, StoredFile
from astrid_site.core.stages import Progress, StageProduct
from astrid_site.imaging.errors import AlgorithmError, NoWorkError
from astrid_site.imaging.healpix import nested_index, wrap_ra
from astrid_site.imaging.masks import is_bad
from detection.models import Detection, DetectionRun
from detection.services.scoring import score_candidates
from detection.services.second_detector import LEAST_SCORE, add_seen_changes
from differencing.models import DifferenceRun
from differencing.selectors import difference_run_of
from observations.models import ProcessingRun
from observations.services.runs import clean_json
from preprocessing.services import load_image, load_stars, put_array

if TYPE_CHECKING:
    from astrid_site.imaging.image import Image
    from astrid_site.imaging.masks import MaskArray
    from astrid_site.imaging.psf import PsfField
    from detection.algorithms.cuts import Cut, CutConfig
    from detection.algorithms.measurement import Measurement
    from differencing.algorithms.agreement import SecondOpinion
    from differencing.algorithms.subtraction import Method
    from preprocessing.algorithms.stars import StarList

#: More kept candidates than this on a million pixels are a bad subtraction, not a sky.
MAX_KEPT_PER_MPIX = 300
#: Rejected candidates kept for people who ask why something was missed, strongest first.
MAX_REJECTED = 300
#: A tiny frame may hold this many without being suspicious.
_MIN_ALLOWED = 30


@dataclass(frozen=True)
class Subtracted:
    """The stored planes of one difference, as detection reads them."""

    difference: NDArray[np.float32]
    variance: NDArray[np.float32]
    score: NDArray[np.float32]
    mask: MaskArray
    psf: PsfField


@dataclass(frozen=True)
class _Inputs:
    """All that the search of one difference needs."""

    run: DifferenceRun
    science: Image
    template: Image
    difference: Image
    subtracted: Subtracted
    stars: StarList

    @property
    def fwhm_arcsec(self) -> float | None:
        """Width of the difference's PSF on the sky."""
        from preprocessing.algorithms.quality import pixel_scale_arcsec

        scale = pixel_scale_arcsec(self.difference.wcs)
        return None if scale is None else self.subtracted.psf.fwhm_pix * scale


@dataclass(frozen=True)
class _Found:
    """Measured candidates with their cuts, those to be stored, strongest first."""

    measurements: list[Measurement]
    cuts: list[tuple[Cut, ...]]
    n_candidates: int
    n_kept: int
    n_second: int = 0
    failed_cuts: dict[str, int] = field(default_factory=dict)


def run_detect(run: ProcessingRun, progress: Progress) -> StageProduct:
    """Search one difference: find peaks, measure, cut, keep the pixels, score.

    Raises
    ------
    AlgorithmError
        If so many candidates pass every cut that the subtraction must be bad.
    """
    from detection.algorithms.cuts import CutConfig

    detection_run = cast(DetectionRun, run)
    inputs = _load(run)
    threshold = run.observation.survey.detection_threshold
    config = CutConfig(min_score=threshold)
    measurements, n_classical = _measure(inputs, progress, threshold=threshold)
    found = _apply_cuts(measurements, config, n_classical=n_classical)
    _refuse_flood(found, inputs.subtracted)
    progress(0.7, "cutting out triplets")
    triplets = _cut_triplets(inputs, found)
    cutouts = _store_triplets(triplets, name=f"{run.observation.observation_id}-cutouts.npy")
    rows = _rows(detection_run, inputs, found)
    progress(0.75, f"scoring {len(rows)} candidates")
    scored = score_candidates(found.measurements, triplets)
    scored.write(rows)
    progress(0.8, "asking a second method" if settings.SECOND_METHOD else "storing candidates")
    opinion = _ask_second(inputs, rows, threshold=threshold) if settings.SECOND_METHOD else None

    def save() -> None:
        detection_run.difference_run = inputs.run
        detection_run.cutouts_file = cutouts
        detection_run.n_candidates, detection_run.n_kept = found.n_candidates, found.n_kept
        detection_run.save(
            update_fields=["difference_run", "cutouts_file", "n_candidates", "n_kept"]
        )
        scored.save()
        Detection.objects.bulk_create(rows, batch_size=200)
        publish("detection.found", subject_id=run.observation_id, payload={"count": found.n_kept})

    file = inputs.run.file
    return StageProduct(
        metrics=_metrics(inputs, found, rows) | _opinion_metrics(opinion, rows),
        parameters={
            "threshold": threshold,
            "second_method": settings.SECOND_METHOD,
            "second_detector": settings.SECOND_DETECTOR,
            "max_kept_per_mpix": MAX_KEPT_PER_MPIX,
            "max_rejected": MAX_REJECTED,
            "models": scored.parameters,
            **asdict(config),
        },
        inputs={"difference": file.sha256} if file else {},
        save=save,
    )


def _measure(
    inputs: _Inputs, progress: Progress, *, threshold: float
) -> tuple[list[Measurement], int]:
    """What is found and measured, and how many of the first are peaks above the threshold."""
    from detection.algorithms.candidates import find_candidates
    from detection.algorithms.measurement import measure

    subtracted, science, template = inputs.subtracted, inputs.science, inputs.template
    progress(0.2, "finding candidates")
    candidates = find_candidates(subtracted, threshold=threshold)
    n_classical = len(candidates)
    if settings.SECOND_DETECTOR:
        progress(0.3, "asking the second detector")
        candidates = add_seen_changes(candidates, subtracted, science=science, template=template)
    progress(0.4, f"measuring {len(candidates)} candidates")
    found = measure(subtracted, template, science, candidates=candidates, stars=inputs.stars)
    return found, n_classical


def _metrics(inputs: _Inputs, found: _Found, rows: list[Detection]) -> dict[str, Any]:
    return {
        "n_candidates": found.n_candidates,
        "n_second_detector": found.n_second,
        "n_kept": found.n_kept,
        "n_stored": len(rows),
        "psf_fwhm_pix": inputs.subtracted.psf.fwhm_pix,
        "psf_fwhm_arcsec": inputs.fwhm_arcsec,
        "n_scored": sum(row.real_bogus is not None for row in rows),
        "failed_cuts": found.failed_cuts,
    }


def _load(run: ProcessingRun) -> _Inputs:
    found = difference_run_of(run.observation_id, version=run.pipeline_version)
    science_image = found.science_image if found else None
    if (
        found is None
        or found.file is None
        or found.template_file is None
        or found.score_file is None
        or science_image is None
        or science_image.file is None
        or science_image.stars_file is None
    ):
        msg = "no finished difference"
        raise NoWorkError(msg)
    difference, score = load_image(found.file), load_image(found.score_file)
    if difference.variance is None or difference.psf is None:
        msg = "the stored difference lacks its variance or PSF"
        raise ValueError(msg)
    return _Inputs(
        run=found,
        science=load_image(science_image.file),
        template=load_image(found.template_file),
        difference=difference,
        subtracted=Subtracted(
            difference=difference.data,
            variance=difference.variance,
            score=score.data,
            mask=difference.mask,
            psf=difference.psf,
        ),
        stars=load_stars(science_image.stars_file),
    )


def _apply_cuts(measurements: list[Measurement], config: CutConfig, *, n_classical: int) -> _Found:
    """Every cut on every candidate; of the rejected only the strongest are carried on.

    Behind the ``n_classical`` first ones come those of the second detector, which asks for less
    significance and for the rest as much.
    """
    from detection.algorithms.cuts import apply_cuts

    faint = replace(config, min_score=min(config.min_score, LEAST_SCORE))
    pairs = [
        (m, apply_cuts(m, config if i < n_classical else faint)) for i, m in enumerate(measurements)
    ]
    kept = [pair for pair in pairs if all(cut.kept for cut in pair[1])]
    rejected = [pair for pair in pairs if not all(cut.kept for cut in pair[1])]
    rejected.sort(key=lambda pair: -abs(pair[0].score))
    chosen = kept + rejected[:MAX_REJECTED]
    failed = Counter(cut.name for _, cuts in rejected for cut in cuts if not cut.kept)
    return _Found(
        measurements=[m for m, _ in chosen],
        cuts=[c for _, c in chosen],
        n_candidates=len(pairs),
        n_kept=len(kept),
        n_second=len(pairs) - n_classical,
        failed_cuts=dict(failed),
    )


def _refuse_flood(found: _Found, subtracted: Subtracted) -> None:
    mpix = float((~is_bad(subtracted.mask)).sum()) / 1e6
    allowed = max(_MIN_ALLOWED, MAX_KEPT_PER_MPIX * mpix)
    if found.n_kept > allowed:
        msg = (
            f"suspicious: {found.n_kept} candidates pass every cut, at most {allowed:.0f} are "
            f"believable on {mpix:.2f} million good pixels"
        )
        raise AlgorithmError(
            msg, n_kept=found.n_kept, n_allowed=int(allowed), n_candidates=found.n_candidates
        )


def _cut_triplets(inputs: _Inputs, found: _Found) -> NDArray[np.float32] | None:
    from detection.algorithms.triplets import cut_triplets

    if not found.measurements:
        return None
    return cut_triplets(
        inputs.science,
        inputs.template,
        inputs.subtracted,
        x=np.array([m.x for m in found.measurements]),
        y=np.array([m.y for m in found.measurements]),
    )


def _store_triplets(triplets: NDArray[np.float32] | None, *, name: str) -> StoredFile | None:
    return None if triplets is None else put_array(triplets, kind=FileKind.CUTOUTS, name=name)


def _rows(run: DetectionRun, inputs: _Inputs, found: _Found) -> list[Detection]:
    sky = _sky_positions(inputs.difference, found.measurements)
    pairs = zip(found.measurements, found.cuts, strict=True)
    return [
        _row(run, m, cuts, index=i, place=sky[i], zero_point=inputs.science.zero_point)
        for i, (m, cuts) in enumerate(pairs)
    ]


def _sky_positions(image: Image, measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Columns of the position on the sky; empty where the frame has no world coordinates."""
    if image.wcs is None or not measurements:
        return [{} for _ in measurements]
    x, y = np.array([m.x for m in measurements]), np.array([m.y for m in measurements])
    ra, dec = image.wcs.all_pix2world(x, y, 0)
    return [
        {"ra": wrap_ra(float(a)), "dec": float(d), "healpix14": nested_index(float(a), float(d))}
        for a, d in zip(ra, dec, strict=True)
    ]


def _ask_second(inputs: _Inputs, rows: list[Detection], *, threshold: float) -> SecondOpinion:
    """Subtract the same pair by a second method, and note in each row what that shows there."""
    from differencing.algorithms.agreement import FirstView, ask_second
    from differencing.algorithms.subtraction import SubtractionConfig

    opinion = ask_second(
        cast("Method", settings.SECOND_METHOD),
        inputs.run.method,
        inputs.template,
        inputs.science,
        stars=inputs.stars,
        candidates=FirstView.of(rows, threshold=threshold),
        config=SubtractionConfig(threads=settings.WORKER_THREADS),
    )
    for row, agreement in zip(rows, opinion.agreements or (), strict=False):
        row.second_opinion = clean_json({"method": opinion.method, **asdict(agreement)})
    return opinion


def _opinion_metrics(opinion: SecondOpinion | None, rows: list[Detection]) -> dict[str, Any]:
    if opinion is None:
        return {}
    said = [row.second_opinion for row in rows if row.second_opinion]
    return {
        "second_method": opinion.method,
        "second_problem": opinion.problem,
        "n_agreeing": sum(bool(each["agrees"]) for each in said) if not opinion.problem else None,
    }


def _row(
    run: DetectionRun,
    m: Measurement,
    cuts: tuple[Cut, ...],
    *,
    index: int,
    place: dict[str, Any],
    zero_point: float | None,
) -> Detection:
    from astrid_site.imaging.photometry import flux_to_mag

    magnitude = flux_to_mag(abs(m.flux), m.flux_error, zero_point) if zero_point else None
    return Detection(
        run=run,
        observation_id=run.observation_id,
        index=index,
        x=m.x,
        y=m.y,
        score=m.score,
        flux=m.flux,
        flux_error=m.flux_error,
        magnitude=magnitude.mag if magnitude else None,
        magnitude_error=magnitude.mag_error if magnitude else None,
        fwhm_pix=m.fwhm_pix,
        elongation=m.elongation,
        mask_flags=m.mask_flags,
        features=clean_json(m.features),
        cuts=clean_json([asdict(cut) for cut in cuts]),
        is_kept=all(cut.kept for cut in cuts),
        **place,
    )
