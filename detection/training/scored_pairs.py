"""Candidates of whole pairs, as the pipeline finds them, with a truth and two models' scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from detection.algorithms.cuts import CutConfig, apply_cuts
from detection.networks.feature_model import FeatureModel
from detection.networks.real_bogus import RealBogusEnsemble
from detection.networks.scoring import ModelScore, score_cutouts, score_features
from detection.training.feature_dataset import simulate_pair_of
from detection.training.nights import draw_night, simulate_night
from detection.training.pair_chain import (
    Places,
    RawPair,
    Treatment,
    difference_pair,
    label_places,
)
from detection.training.pair_faults import inject_sources
from detection.training.regimes import REGIMES
from detection.training.triplet_builder import null_pair_files

Values = NDArray[np.float64]
Progress = Callable[[str], object]

#: The detection threshold of the pipeline [sigma].
THRESHOLD = 5.0
_N_INJECTED = 40


@dataclass(frozen=True)
class TreatedPair:
    """Two raw frames of known truth, and how they are worked on."""

    raw: RawPair
    treatment: Treatment


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


def regime_pairs(seed: int) -> Iterator[TreatedPair]:
    """The feature model's regimes in turn, at seeds from ``seed`` on, without end."""
    while True:
        for regime in REGIMES:
            yield TreatedPair(simulate_pair_of(regime, seed=seed), regime.treatment)
            seed += 1


def night_pairs(seed: int) -> Iterator[TreatedPair]:
    """Nights as the network's training draws them, at seeds from ``seed`` on, without end."""
    while True:
        night = draw_night(seed)
        raw = simulate_night(night, np.random.default_rng([seed, 64]))
        yield TreatedPair(raw, night.treatment)
        seed += 1


def null_pairs(
    part: str, *, read_raw: Callable[[str], Image], n_injected: int = _N_INJECTED
) -> Iterator[TreatedPair]:
    """Real frames of one night, by their names in the test data, with sources put in."""
    for i, (first, second) in enumerate(null_pair_files(part)):
        rng = np.random.default_rng([i, 67])
        raw = inject_sources(read_raw(first), read_raw(second), rng, n_sources=n_injected)
        yield TreatedPair(raw, Treatment())


def score_pairs(
    name: str,
    pairs: Iterable[TreatedPair],
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
    pair: TreatedPair, *, group: str, model: FeatureModel, ensemble: RealBogusEnsemble
) -> ScoredCandidates:
    made = difference_pair(pair.raw, pair.treatment)
    measured = made.measure(made.find(THRESHOLD))
    places = Places.of(measured)
    label, _ = label_places(places, pair.raw.changes, fwhm_pix=made.fwhm_pix)
    cut = CutConfig(min_score=THRESHOLD)
    answer = ScoredCandidates(
        is_real=label == 1,
        is_kept=np.array([all(c.kept for c in apply_cuts(m, cut)) for m in measured], dtype=bool),
        snr=np.array([abs(m.score) for m in measured], dtype=np.float64),
        group=np.array([group] * len(measured), dtype="U64"),
        features=_objects(score_features(model, [m.features for m in measured])),
        network=_objects(score_cutouts(ensemble, made.cut(places.x, places.y))),
    )
    return answer.select(label >= 0)


def _objects(scores: list[ModelScore]) -> NDArray[Any]:
    column = np.empty(len(scores), dtype=object)
    column[:] = scores
    return column
