"""Candidates of whole pairs, as the pipeline finds them, with a truth and two models' scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from detection.algorithms.candidates import Candidates, find_candidates
from detection.algorithms.cuts import CutConfig, apply_cuts
from detection.algorithms.measurement import Measurement, measure
from detection.algorithms.triplets import cut_triplets
from detection.networks.feature_model import FeatureModel
from detection.networks.real_bogus import RealBogusEnsemble
from detection.networks.scoring import ModelScore, score_cutouts, score_features
from detection.training import feature_dataset, triplet_engine
from detection.training.regimes import REGIMES
from detection.training.triplet_builder import null_pair_files
from differencing.algorithms.subtract import subtract
from differencing.algorithms.subtraction import SubtractionConfig
from preprocessing.algorithms.preprocess import PreprocessConfig, preprocess_image
from preprocessing.algorithms.registration import register
from preprocessing.algorithms.warp import warp

Values = NDArray[np.float64]
Progress = Callable[[str], object]

#: The detection threshold of the pipeline [sigma].
THRESHOLD = 5.0
_N_INJECTED = 40


@dataclass(frozen=True)
class LabelledPair:
    """Two raw frames, the true changes (x, y, sign) on the later one, and how they are treated."""

    earlier: Image
    later: Image
    changes: Values
    finds_cosmic_rays: bool = True
    is_aligned: bool = False
    subtraction: SubtractionConfig = field(default_factory=SubtractionConfig)


@dataclass(frozen=True)
class ScoredCandidates:
    """Labelled candidates; rows belong together.

    Attributes
    ----------
    is_real, is_kept : NDArray[bool], shape (n,)
        The truth, and whether every cut was passed.
    snr : NDArray[float64], shape (n,)
        |score| [sigma].
    group : NDArray[str], shape (n,)
        The pair.
    features, network : NDArray[object], shape (n,)
        ``ModelScore`` of both models.
    """

    is_real: NDArray[np.bool_]
    is_kept: NDArray[np.bool_]
    snr: Values
    group: NDArray[np.str_]
    features: NDArray[Any]
    network: NDArray[Any]

    def __len__(self) -> int:
        return len(self.snr)

    def select(self, rows: NDArray[Any]) -> ScoredCandidates:
        """The candidates at rows."""
        return ScoredCandidates(*(values[rows] for values in vars(self).values()))


def regime_pairs(seed: int) -> Iterator[LabelledPair]:
    """The feature model's regimes in turn, at seeds from ``seed`` on, without end."""
    while True:
        for regime in REGIMES:
            made = feature_dataset.simulate_pair_of(regime, seed=seed)
            yield LabelledPair(
                made.earlier,
                made.later,
                made.changes,
                regime.find_cosmic_rays,
                regime.aligned,
                regime.subtraction,
            )
            seed += 1


def night_pairs(seed: int) -> Iterator[LabelledPair]:
    """Nights as the network's training draws them, at seeds from ``seed`` on, without end."""
    while True:
        night = triplet_engine.draw_night(seed)
        made = triplet_engine.simulate_night(night, np.random.default_rng([seed, 64]))
        yield LabelledPair(
            made.earlier,
            made.later,
            made.changes,
            night.finds_cosmic_rays,
            night.is_aligned,
            night.subtraction,
        )
        seed += 1


def null_pairs(
    part: str, *, read_raw: Callable[[str], Image], n_injected: int = _N_INJECTED
) -> Iterator[LabelledPair]:
    """Real frames of one night, by their names in the test data, with sources put in."""
    for i, (first, second) in enumerate(null_pair_files(part)):
        later = read_raw(second)
        injected, changes = triplet_engine.inject_into(
            later, np.random.default_rng([i, 67]), n_sources=n_injected
        )
        yield LabelledPair(read_raw(first), injected, changes)


def score_pairs(
    name: str,
    pairs: Iterable[LabelledPair],
    *,
    model: FeatureModel,
    ensemble: RealBogusEnsemble,
    progress: Progress,
) -> ScoredCandidates:
    """Candidates of all pairs; one that the engine refuses gives none to anybody.

    Raises
    ------
    ValueError
        If no pair gives any.
    """
    parts = []
    for i, pair in enumerate(pairs):
        try:
            part = _score_pair(pair, group=f"{name}-{i}", model=model, ensemble=ensemble)
        except AlgorithmError as error:
            progress(f"{name} {i}: refused: {error}")
            continue
        progress(f"{name} {i}: {int(part.is_real.sum())} real of {len(part)}")
        parts.append(part)
    if not parts:
        msg = f"{name}: no pair gives candidates"
        raise ValueError(msg)
    names = vars(parts[0])
    return ScoredCandidates(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))


def values_of(scores: Iterable[ModelScore]) -> Values:
    """Scores as numbers, NaN where there is none."""
    values = [np.nan if said.score is None else said.score for said in scores]
    return np.array(values, dtype=np.float64)


def _score_pair(
    pair: LabelledPair, *, group: str, model: FeatureModel, ensemble: RealBogusEnsemble
) -> ScoredCandidates:
    config = PreprocessConfig(find_cosmic_rays=pair.finds_cosmic_rays)
    earlier, later = (
        preprocess_image(triplet_engine.as_delivered(frame), config)
        for frame in (pair.earlier, pair.later)
    )
    found = register(
        earlier.image,
        earlier.stars,
        later.image,
        science_stars=later.stars,
        aligned=pair.is_aligned,
    )
    template = warp(earlier.image, found, shape=later.image.shape)
    made = subtract(template, later.image, stars=later.stars, config=pair.subtraction)
    peaks = find_candidates(made, threshold=THRESHOLD)
    measured = measure(made, template, later.image, peaks, stars=later.stars)
    x, y = (np.array([getattr(m, axis) for m in measured], dtype=np.float64) for axis in "xy")
    label = _label(measured, pair.changes, fwhm_pix=made.psf.fwhm_pix)
    cut = CutConfig(min_score=THRESHOLD)
    answer = ScoredCandidates(
        is_real=label == 1,
        is_kept=np.array([all(c.kept for c in apply_cuts(m, cut)) for m in measured], dtype=bool),
        snr=np.array([abs(m.score) for m in measured], dtype=np.float64),
        group=np.array([group] * len(measured), dtype="U64"),
        features=_objects(score_features(model, [m.features for m in measured])),
        network=_objects(score_cutouts(ensemble, cut_triplets(later.image, template, made, x, y))),
    )
    return answer.select(label >= 0)


def _label(measured: list[Measurement], changes: Values, *, fwhm_pix: float) -> NDArray[np.int64]:
    """1 real, 0 bogus, -1 where a true change is near but not there."""
    peaks = Candidates(
        x=np.array([m.x for m in measured], dtype=np.float64),
        y=np.array([m.y for m in measured], dtype=np.float64),
        score=np.array([m.score for m in measured], dtype=np.float64),
        sign=np.array([m.sign for m in measured], dtype=np.int64),
    )
    return triplet_engine.label_peaks(peaks, changes, fwhm_pix=fwhm_pix)


def _objects(scores: list[ModelScore]) -> NDArray[Any]:
    column = np.empty(len(scores), dtype=object)
    column[:] = scores
    return column
