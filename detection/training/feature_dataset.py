"""Labelled candidates for the feature model: simulated pairs through the real pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.photometry import shift_psf
from astrid_site.imaging.psf import PsfField
from astrid_site.imaging.sky_pair import simulate_pair
from detection.algorithms.candidates import find_candidates
from detection.algorithms.measurement import Measurement, measure
from detection.training.regimes import Regime
from differencing.algorithms.subtract import subtract
from preprocessing.algorithms.preprocess import PreprocessConfig, preprocess_image
from preprocessing.algorithms.registration import register
from preprocessing.algorithms.warp import warp

Values = NDArray[np.float64]

#: Candidates are collected below the detection threshold, so that the model knows its surroundings.
TRAINING_THRESHOLD = 4.5
#: A candidate this near a true transient, in FWHM, is that transient,
_SAME_FWHM = 0.8
#: and one farther but within this is neither real nor bogus, and is left out.
_UNCLEAR_FWHM = 2.5
_MIN_TRUE_SNR = 3.0


@dataclass(frozen=True)
class RawPair:
    """Two raw frames, and (x, y, sign) of what changed between them on the later one's pixels."""

    earlier: Image
    later: Image
    changes: Values


@dataclass(frozen=True)
class LabelledCandidates:
    """Candidates of many simulated pairs; rows belong together.

    Attributes
    ----------
    features : list of dict
        ``Measurement.features`` of n candidates.
    is_real : NDArray[bool], shape (n,)
        Whether a true transient of the right sign is there.
    regime : list of str
        Name of the regime each came from.
    seed : NDArray[int64], shape (n,)
        Seed of the pair each came from.
    score : NDArray[float64], shape (n,)
        Signed matched-filter score [sigma].
    """

    features: list[dict[str, float | None]]
    is_real: NDArray[np.bool_]
    regime: list[str]
    seed: NDArray[np.int64]
    score: Values

    def __len__(self) -> int:
        return len(self.features)


def simulate_candidates(regime: Regime, *, seed: int) -> LabelledCandidates:
    """Candidates of one simulated pair, labelled by its truth."""
    pair = simulate_pair_of(regime, seed=seed)
    measured, fwhm = _measure_pair(pair, regime)
    label = _label(measured, pair.changes, fwhm_pix=fwhm)
    kept = [(m, is_real) for m, is_real in zip(measured, label, strict=True) if is_real is not None]
    return LabelledCandidates(
        features=[m.features for m, _ in kept],
        is_real=np.array([is_real for _, is_real in kept], dtype=bool),
        regime=[regime.name] * len(kept),
        seed=np.full(len(kept), seed, dtype=np.int64),
        score=np.array([m.score for m, _ in kept], dtype=np.float64),
    )


def join_candidates(parts: Sequence[LabelledCandidates]) -> LabelledCandidates:
    """All candidates of several pairs."""
    return LabelledCandidates(
        features=[row for part in parts for row in part.features],
        is_real=np.concatenate([part.is_real for part in parts]),
        regime=[name for part in parts for name in part.regime],
        seed=np.concatenate([part.seed for part in parts]),
        score=np.concatenate([part.score for part in parts]),
    )


def simulate_pair_of(regime: Regime, *, seed: int) -> RawPair:
    """Two raw frames with the regime's faults and changes put in."""
    pair = simulate_pair(replace(regime.pair, seed=seed))
    rng = np.random.default_rng([seed, 4])
    earlier, later, psf = pair.reference, pair.science, pair.science_psf
    names, sign = ("x", "y"), 1.0
    if regime.is_swapped:
        earlier, later, psf = later, earlier, pair.reference_psf
        names, sign = ("x_reference", "y_reference"), -1.0
    clear = pair.truth[np.asarray(pair.truth["snr_ideal"]) >= _MIN_TRUE_SNR]
    x, y = (np.asarray(clear[name], dtype=np.float64) for name in names)
    changes = np.column_stack([x, y, np.full(len(x), sign)])
    later, variables = _vary_stars(later, psf, rng, n_stars=regime.n_variable_stars)
    later = _warm_columns(later, rng, n_columns=regime.n_warm_columns)
    return RawPair(earlier, later, np.concatenate([changes, variables]))


def _vary_stars(
    image: Image, psf: PsfField, rng: np.random.Generator, *, n_stars: int
) -> tuple[Image, Values]:
    """Change clean stars by a tenth to a half, up or down; returns their (x, y, sign)."""
    if n_stars == 0:
        return image, np.zeros((0, 3))
    stars = preprocess_image(_as_delivered(image)).stars
    half = psf.size // 2
    ny, nx = image.shape
    inside = (np.abs(stars.x - nx / 2) < nx / 2 - half - 1) & (
        np.abs(stars.y - ny / 2) < ny / 2 - half - 1
    )
    usable = np.flatnonzero(stars.is_star & inside & (stars.snr > 40.0))
    chosen = rng.choice(usable, size=min(n_stars, len(usable)), replace=False)
    data = image.data.copy()
    changes = []
    for star in chosen:
        x, y = float(stars.x[star]), float(stars.y[star])
        change = rng.choice([-1.0, 1.0]) * rng.uniform(0.1, 0.5)
        ix, iy = round(x), round(y)
        stamp = shift_psf(psf.at(x, y), np.array([x - ix]), np.array([y - iy]))[0]
        rows, columns = slice(iy - half, iy + half + 1), slice(ix - half, ix + half + 1)
        data[rows, columns] += np.float32(change * stars.flux[star]) * stamp
        changes.append((x, y, np.sign(change)))
    return image.with_(data=data), np.array(changes, dtype=np.float64).reshape(-1, 3)


def _warm_columns(image: Image, rng: np.random.Generator, *, n_columns: int) -> Image:
    """Raise columns by half to three times the sky's noise over part of their length."""
    ny, nx = image.shape
    data = image.data.copy()
    # upper half-width of the pixel distribution: the noise, since sources only widen it upwards
    low, middle = np.percentile(data, [15.865, 50.0])
    for column in rng.choice(nx, size=n_columns, replace=False):
        start = int(rng.integers(0, ny // 2))
        data[start:, column] += np.float32((middle - low) * rng.uniform(0.5, 3.0))
    return image.with_(data=data)


def _measure_pair(pair: RawPair, regime: Regime) -> tuple[list[Measurement], float]:
    """The real pipeline from two raw frames to measured candidates, and the PSF's FWHM [pix]."""
    config = PreprocessConfig(find_cosmic_rays=regime.find_cosmic_rays)
    science, reference = (
        preprocess_image(_as_delivered(frame), config) for frame in (pair.later, pair.earlier)
    )
    registration = register(
        reference.image,
        reference.stars,
        science.image,
        science_stars=science.stars,
        aligned=regime.aligned,
    )
    template = warp(reference.image, registration, shape=science.image.shape)
    subtraction = subtract(template, science.image, stars=science.stars, config=regime.subtraction)
    candidates = find_candidates(subtraction, threshold=TRAINING_THRESHOLD)
    measured = measure(subtraction, template, science.image, candidates, stars=science.stars)
    return measured, subtraction.psf.fwhm_pix


def _as_delivered(image: Image) -> Image:
    """The frame with only the masks a camera delivers; the pipeline has to find the rest."""
    planes = np.uint16(MaskPlane.NO_DATA | MaskPlane.BAD_PIXEL)
    return image.with_(mask=(image.mask & planes).astype(np.uint16))


def _label(
    measured: Sequence[Measurement], changes: Values, *, fwhm_pix: float
) -> list[bool | None]:
    """Real, bogus, or None where a true change is near but not there."""
    if len(changes) == 0 or not measured:
        return [False] * len(measured)
    distance, nearest = cKDTree(changes[:, :2]).query(np.array([[m.x, m.y] for m in measured]))
    labels: list[bool | None] = []
    for m, d, change in zip(measured, distance / fwhm_pix, changes[nearest], strict=True):
        if d <= _SAME_FWHM and m.sign == change[2]:
            labels.append(True)
        else:
            labels.append(None if d <= _UNCLEAR_FWHM else False)
    return labels
