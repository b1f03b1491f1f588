"""Fit the feature model to labelled candidates and judge it on others."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from astrid_site.imaging.errors import AlgorithmError
from detection.networks.feature_model import Feature, FeatureModel, Json, quadratic_terms
from detection.training.feature_dataset import LabelledCandidates

Values = NDArray[np.float64]

_MIN_EXAMPLES = 50
#: Inverse strength of the ridge: products of sixteen features must not chase single candidates.
_INVERSE_RIDGE = 0.05
_CLIP_PERCENTILES = (0.5, 99.5)


def fit_feature_model(
    candidates: LabelledCandidates, *, version: str, record: dict[str, Json]
) -> FeatureModel:
    """Fit a logistic regression with quadratic terms and a ridge.

    Parameters
    ----------
    candidates : LabelledCandidates
        Training candidates; those with a missing feature are left out.
    version : str
        Name of the weights.
    record : dict
        Training record to keep with them.

    Returns
    -------
    FeatureModel

    Raises
    ------
    AlgorithmError
        If fewer than 50 real or 50 bogus candidates are complete; carries ``n_real``, ``n_bogus``.
    """
    names = sorted(candidates.features[0]) if len(candidates) else []
    rows, is_real = complete_rows(candidates, names)
    n_real, n_bogus = int(is_real.sum()), int((~is_real).sum())
    if min(n_real, n_bogus) < _MIN_EXAMPLES:
        msg = f"too few candidates to train on: {n_real} real, {n_bogus} bogus"
        raise AlgorithmError(msg, n_real=n_real, n_bogus=n_bogus, n_required=_MIN_EXAMPLES)
    features = tuple(_describe(name, rows[:, i]) for i, name in enumerate(names))
    standard = (
        np.clip(rows, *_columns(features, "low", "high")) - _columns(features, "mean")[0]
    ) / (_columns(features, "scale")[0])
    # lbfgs starts at zero and has no random part: equal candidates give equal weights
    regression = LogisticRegression(C=_INVERSE_RIDGE, max_iter=5000)
    regression.fit(quadratic_terms(standard), is_real)
    weights = np.concatenate([regression.intercept_, regression.coef_[0]])
    return FeatureModel(features=features, weights=weights, version=version, record=record)


def complete_rows(
    candidates: LabelledCandidates, names: list[str]
) -> tuple[Values, NDArray[np.bool_]]:
    """Feature rows (n, k) and labels of the candidates that have every feature."""
    table = [[row.get(name) for name in names] for row in candidates.features]
    rows = np.array(
        [[math.nan if v is None else v for v in row] for row in table], dtype=np.float64
    ).reshape(len(candidates), len(names))
    complete = np.isfinite(rows).all(axis=1)
    return rows[complete], candidates.is_real[complete]


def _describe(name: str, column: Values) -> Feature:
    """Clip range and standardisation of one feature."""
    low, high = (float(edge) for edge in np.percentile(column, _CLIP_PERCENTILES))
    clipped = np.clip(column, low, high)
    # a feature that never varies carries no information; unit scale keeps it finite
    scale = float(clipped.std()) or 1.0
    return Feature(name=name, low=low, high=high, mean=float(clipped.mean()), scale=scale)


def _columns(features: tuple[Feature, ...], *names: str) -> list[Values]:
    """Attributes of all features as arrays."""
    return [np.array([getattr(feature, name) for feature in features]) for name in names]


def evaluate_feature_model(
    model: FeatureModel, candidates: LabelledCandidates
) -> dict[str, float | int]:
    """Quality of the scores on candidates the model has not seen.

    Returns
    -------
    dict
        ``n_real``, ``n_bogus``, ``n_without_score``; ``roc_auc``; ``auc_pr`` (average precision);
        ``brier``; ``recall_at_1pct_fpr`` (share of the real above the score that 1 % of the bogus
        exceed); ``calibration_error`` (mean |predicted - observed| over tenths of the scores).
    """
    names = [feature.name for feature in model.features]
    rows, is_real = complete_rows(candidates, names)
    score = model.predict_rows(rows)
    limit = np.quantile(score[~is_real], 0.99)
    return {
        "n_real": int(is_real.sum()),
        "n_bogus": int((~is_real).sum()),
        "n_without_score": len(candidates) - len(rows),
        "roc_auc": _rounded(roc_auc_score(is_real, score)),
        "auc_pr": _rounded(average_precision_score(is_real, score)),
        "brier": _rounded(brier_score_loss(is_real, score)),
        "recall_at_1pct_fpr": _rounded((score[is_real] > limit).mean()),
        "calibration_error": _rounded(_calibration_error(score, is_real)),
    }


def _rounded(value: float) -> float:
    """Four decimals: more would promise what the held-out sample does not carry."""
    return round(float(value), 4)


def _calibration_error(score: Values, is_real: NDArray[np.bool_]) -> float:
    """Mean absolute difference of predicted and observed rate, weighted by count."""
    tenth = np.minimum((score * 10).astype(np.int64), 9)
    count = np.bincount(tenth, minlength=10)
    predicted = np.bincount(tenth, weights=score, minlength=10)
    observed = np.bincount(tenth, weights=is_real.astype(np.float64), minlength=10)
    return float(np.abs(predicted - observed).sum() / count.sum())
