"""Labelled candidates for the feature model: simulated pairs through the real pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detection.training.pair_chain import (
    TRAINING_THRESHOLD,
    Places,
    RawPair,
    difference_pair,
    label_places,
)
from detection.training.pair_faults import simulate_raw_pair, vary_stars, warm_columns
from detection.training.regimes import Regime

Values = NDArray[np.float64]


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
    """Candidates of one simulated pair, labelled by its truth; unclear ones are left out."""
    pair = simulate_pair_of(regime, seed=seed)
    made = difference_pair(pair, regime.treatment)
    measured = made.measure(made.find(TRAINING_THRESHOLD))
    label, _ = label_places(Places.of(measured), pair.changes, fwhm_pix=made.fwhm_pix)
    kept = np.flatnonzero(label >= 0)
    return LabelledCandidates(
        features=[measured[i].features for i in kept],
        is_real=label[kept] == 1,
        regime=[regime.name] * len(kept),
        seed=np.full(len(kept), seed, dtype=np.int64),
        score=np.array([measured[i].score for i in kept], dtype=np.float64),
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
    pair, psf = simulate_raw_pair(replace(regime.pair, seed=seed), is_swapped=regime.is_swapped)
    rng = np.random.default_rng([seed, 4])
    pair = vary_stars(pair, psf, rng, n_stars=regime.n_variable_stars, draw=_draw_changes)
    later = warm_columns(pair.later, rng, n_columns=regime.n_warm_columns)
    return replace(pair, later=later)


def _draw_changes(rng: np.random.Generator, n_stars: int) -> Values:
    """By a tenth to a half, up or down."""
    pairs = [(rng.choice([-1.0, 1.0]), rng.uniform(0.1, 0.5)) for _ in range(n_stars)]
    return np.array([sign * size for sign, size in pairs], dtype=np.float64)
