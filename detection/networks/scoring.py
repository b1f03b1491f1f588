"""Scores of one frame's candidates by one model, whatever it looks at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.networks.feature_model import FeatureModel
from detection.networks.real_bogus import RealBogusEnsemble

#: Planes of the stored cutouts that the network looks at: science, template, difference.
_N_PLANES = 3


@dataclass(frozen=True)
class ModelScore:
    """What one model says of one candidate.

    Attributes
    ----------
    score : float or None
        Probability of being real, 0 to 1; None, never a guess, where it cannot tell.
    score_error : float or None
        Its standard deviation; None where the model gives none.
    reason : str
        Why there is no score; empty where there is one.
    """

    score: float | None
    score_error: float | None
    reason: str


def score_features(
    model: FeatureModel, features: Sequence[Mapping[str, float | None]]
) -> list[ModelScore]:
    """Scores from measured features, in their order."""
    scores = []
    for row in features:
        value = model.predict(row)
        reason = "" if value is not None else f"not measured: {', '.join(_missing(model, row))}"
        scores.append(ModelScore(value, None, reason))
    return scores


def score_cutouts(ensemble: RealBogusEnsemble, cutouts: NDArray[np.float32]) -> list[ModelScore]:
    """Scores of stored cutouts (n, 4, 63, 63), in their order.

    Deterministic on one thread. A candidate without a pixel in the middle of both science and
    difference has no score.
    """
    triplets = np.moveaxis(cutouts[:, :_N_PLANES], 1, -1)
    found = ensemble.score(triplets)
    return [
        ModelScore(None, None, "no pixels in the middle of science and difference")
        if math.isnan(score)
        else ModelScore(float(score), float(error), "")
        for score, error in zip(found.score, found.score_error, strict=True)
    ]


def _missing(model: FeatureModel, row: Mapping[str, float | None]) -> list[str]:
    """Names of the features that the model needs and the row lacks."""
    values = {feature.name: row.get(feature.name) for feature in model.features}
    return [name for name, value in values.items() if value is None or not math.isfinite(value)]
